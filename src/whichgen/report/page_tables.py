"""The tables of the page that no other report has, from a run's results and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whichgen.constants import UNKNOWN
from whichgen.data.dataset import SPLITS
from whichgen.io.tables import Row, percent
from whichgen.report.result_tables import headline_rows, shortcut_rows, unknown_generator_row
from whichgen.report.run_reader import Run

#: The figures that are told first: their name in ``intervals``, and how readers know them.
FIRST = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "auroc": "AUROC",
    "oscr": "OSCR",
    "tnr_at_tpr95": "TNR at 95 % TPR",
}


@dataclass(frozen=True)
class Mistake:
    """One image answered wrong; ``answer`` is its most probable origin.

    ``rejected``: its score is below the threshold, so the answer is ``unknown`` for all that.
    """

    path: str
    origin: str
    answer: str
    score: float
    rejected: bool


def first_figures(run: Run) -> dict[str, tuple[float | None, tuple[float, float] | None]]:
    """Value and 95 % interval, in [0, 1], of each of :data:`FIRST`."""
    test, detection = run.results.test, run.results.test.detection
    values: dict[str, float | None] = {
        "accuracy": test.closed.accuracy,
        "macro_f1": test.closed.macro_f1,
        "auroc": detection.auroc if detection else None,
        "oscr": test.oscr,
        "tnr_at_tpr95": detection.tnr_at_tpr95 if detection else None,
    }
    intervals = run.results.intervals
    bounds = {
        name: (found.low, found.high)
        for name, found in intervals.items()
        if not np.isnan([found.low, found.high]).any()
    }
    return {name: (value, bounds.get(name)) for name, value in values.items()}


def side_by_side(runs: Mapping[str, Run]) -> list[Row]:
    """The headline figures, a column for each run by its label."""
    columns = {
        label: headline_rows(run.results.test, run.results.intervals) for label, run in runs.items()
    }
    shown = {
        label: {
            row["metric"]: f"{row['%']} ({row['95 % interval']})"
            if row.get("95 % interval")
            else row["%"]
            for row in rows
        }
        for label, rows in columns.items()
    }
    metrics = dict.fromkeys(row["metric"] for rows in columns.values() for row in rows)
    return [
        {"%": metric, **{label: found.get(metric, "–") for label, found in shown.items()}}
        for metric in metrics
    ]


def origin_rows(run: Run) -> list[Row]:
    """For each known origin: precision, recall and F1 of the closed set, and what is rejected."""
    confusion = np.array(run.results.test.closed.confusion, dtype=np.float64)
    right, true, answered = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    kept = run.decided(run.known) >= 0
    rows: list[Row] = []
    for i, origin in enumerate(run.origins):
        others = np.delete(confusion[i], i)
        worst = int(others.argmax()) if len(others) else 0
        rows.append(
            {
                "origin": origin,
                "images": int(true[i]),
                "precision": _share(right[i], answered[i]),
                "recall": _share(right[i], true[i]),
                "F1": _share(2 * right[i], true[i] + answered[i]),
                "kept at the threshold": _share(kept[run.known.origins == origin].sum(), true[i]),
                "mostly mistaken for": np.delete(run.origins, i)[worst] if others.any() else "–",
            }
        )
    return rows


def generator_rows(run: Run) -> list[Row]:
    """For each unknown generator, and each group of them, how it is told from known origins."""
    test = run.results.test
    return [unknown_generator_row(found) for found in (*test.unknown, *test.groups)]


def open_counts(run: Run) -> tuple[list[str], list[str], np.ndarray]:
    """The confusion matrix with rejection: true origins, answers, and counts int64 (rows, columns).

    Known origins come first, then unknown ones; the last answer is ``unknown``.
    """
    names = sorted(set(run.unknown.origins.tolist()))
    last = len(run.origins)
    counts = [
        np.bincount(
            np.where(decided < 0, last, decided)[answers.origins == name], minlength=last + 1
        )
        for answers, members in ((run.known, run.origins), (run.unknown, names))
        for decided in [run.decided(answers)]
        for name in members
    ]
    return [*run.origins, *names], [*run.origins, UNKNOWN], np.array(counts)


def matrix_rows(rows: Sequence[str], columns: Sequence[str], counts: np.ndarray) -> list[Row]:
    """A matrix of counts as a table."""
    return [
        {"true origin": name, **dict(zip((f"→ {c}" for c in columns), line, strict=True))}
        for name, line in zip(rows, counts.tolist(), strict=True)
    ]


def known_mistakes(run: Run, most: int) -> list[Mistake]:
    """Known images whose most probable origin is wrong, the highest scores first."""
    wrong = run.known.predicted != run.known.labels(run.origins)
    return _mistakes(run, 0, wrong, most)


def unknown_mistakes(run: Run, most: int) -> list[Mistake]:
    """Unknown images that were taken for a known origin, the highest scores first."""
    return _mistakes(run, 1, run.unknown.scores >= run.threshold, most)


def neighbor_rows(run: Run, near: int = 5) -> list[Row]:
    """What lies beside what on the map: of each origin's images, whose their nearest ones are."""
    found = run.map
    if found is None or len(found.paths) <= near:
        return []
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=near).fit(found.points)
    theirs = found.origins[index.kneighbors(return_distance=False)]
    rows = []
    for origin in dict.fromkeys([*run.origins, *sorted(set(found.origins.tolist()))]):
        beside, counts = np.unique(theirs[found.origins == origin], return_counts=True)
        order = counts.argsort()[::-1][:3]
        rows.append(
            {
                "origin": origin,
                "images on the map": int((found.origins == origin).sum()),
                f"whose {near} nearest are of": ", ".join(
                    f"{beside[i]} ({100 * counts[i] / counts.sum():.0f} %)" for i in order.tolist()
                ),
            }
        )
    return [row for row in rows if row["images on the map"]]


def control_rows(run: Run) -> list[Row]:
    """The leak check's figures with the model's own in the last row; empty where it was off."""
    if run.results.shortcut_check is None:
        return []
    test = run.results.test
    model: Row = {
        "by": "the model",
        "accuracy": percent(test.closed.accuracy),
        "balanced accuracy": percent(test.closed.macro_recall),
        "AUROC": percent(test.detection.auroc if test.detection else None),
        "OSCR": percent(test.oscr),
    }
    return [*shortcut_rows(run.results.shortcut_check), model]


def image_rows(run: Run) -> list[Row]:
    """Images of each origin and part; those of the test alone where the run kept no others."""
    images = run.results.images
    if not images:
        tested = [
            (which, *np.unique(answers.origins, return_counts=True))
            for which, answers in (("known", run.known), ("unknown", run.unknown))
        ]
        return [
            {"origin": name, "is": which, "test": count}
            for which, names, counts in tested
            for name, count in zip(names.tolist(), counts.tolist(), strict=True)
        ]
    parts = [part for part in SPLITS if part in images]
    every = dict.fromkeys([*run.origins, *sorted({o for part in parts for o in images[part]})])
    return [
        {
            "origin": origin,
            "is": "known" if origin in run.origins else "unknown",
            **{part.replace("_", ", "): images[part].get(origin, 0) for part in parts},
        }
        for origin in every
    ]


def level_rows(run: Run) -> list[Row]:
    """The deepest certain answers."""
    return [
        {
            "test images": found.images,
            "deepest certain answer": found.level,
            "answers": found.count,
            "right %": percent(None if found.correct is None else found.correct / found.count),
        }
        for found in run.results.hierarchy
        if found.count
    ]


def synthetic_rows(run: Run) -> list[Row]:
    """Real against synthetic images."""
    return [
        {
            "synthetic images of": found.name,
            "images": found.images,
            "AUROC": percent(found.auroc),
            "average precision": percent(found.average_precision),
        }
        for found in run.results.test.synthetic
    ]


def expert_rows(run: Run) -> list[Row]:
    """A fusion's experts with their validation figures."""
    return [
        {
            "perturbation": expert.perturbation or "none",
            "members": expert.members,
            "val AUROC": percent(expert.auroc),
            "val OSCR": percent(expert.oscr),
            "val accuracy": percent(expert.accuracy),
        }
        for expert in run.results.experts
    ]


def flat(record: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """A nested record as names, joined by ›, and values."""
    found: dict[str, str] = {}
    for key, value in record.items():
        name = f"{above} › {key}" if above else str(key)
        if isinstance(value, Mapping) and value:
            found |= flat(value, name)
        elif isinstance(value, list) and not any(isinstance(v, dict) for v in value):
            found[name] = ", ".join(map(str, value)) or "–"
        else:
            found[name] = "–" if value in (None, "", {}) else str(value)
    return found


def _mistakes(run: Run, half: int, wrong: np.ndarray, most: int) -> list[Mistake]:
    answers, paths = run.predictions.answers[half], run.predictions.paths[half]
    rows = np.flatnonzero(wrong)
    rows = rows[np.argsort(-answers.scores[rows], kind="stable")][:most]
    return [
        Mistake(
            path=str(paths[i]),
            origin=str(answers.origins[i]),
            answer=run.origins[int(answers.predicted[i])],
            score=float(answers.scores[i]),
            rejected=bool(answers.scores[i] < run.threshold),
        )
        for i in rows.tolist()
    ]


def _share(part: float, whole: float) -> str:
    return percent(float(part / whole) if whole else None)
