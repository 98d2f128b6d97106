"""Tables and texts about a run, for report.md and the HTML page."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from whichgen.constants import UNKNOWN
from whichgen.evaluation.all_metrics import Evaluation, UnknownResult
from whichgen.evaluation.bootstrap import Interval
from whichgen.evaluation.predictions import Predictions
from whichgen.features.table import FeatureTable
from whichgen.io.atomic import write_text
from whichgen.io.tables import Row, markdown_table, percent, write_csv
from whichgen.models.saved_model import save_model
from whichgen.openset.threshold import decide
from whichgen.progress import Progress
from whichgen.report.image_map import ImageMap, compute_image_map, image_map_rows
from whichgen.report.plots import save_figure
from whichgen.training.controls import Controls, ShuffleControl
from whichgen.training.finalize import COVERAGE, EvaluatedModel
from whichgen.training.shortcuts import ShortcutReport


def write_tested(
    found: EvaluatedModel,
    folder: Path,
    *,
    results: Mapping[str, Any],
    draw: Callable[[ImageMap], Mapping[str, Figure]],
    progress: Progress,
) -> list[str]:
    """Writes everything but the report's text; the model first, so that it is never lost.

    ``results`` are the parts of ``results.json`` that not every experiment has; ``draw`` makes the
    plots, one of them of the map of the test images that it gets. Returns the plots' names.
    """
    save_model(found.model, folder / "model", name=str(folder))
    write_text(folder / "results.json", to_json({**_results(found), **results}))
    write_csv(
        folder / "unknown.csv", [unknown_generator_row(r, digits=False) for r in all_unknown(found)]
    )
    write_csv(folder / "predictions.csv", _predictions(found))
    (folder / "skipped.txt").unlink(missing_ok=True)
    if found.skipped:
        write_text(folder / "skipped.txt", "".join(f"{reason}\n" for reason in found.skipped))
    embedding = compute_image_map(found)
    write_csv(folder / "embedding.csv", image_map_rows(found, embedding))
    plots = draw(embedding)
    for name, figure in progress(plots.items(), description="Plotting", total=len(plots)):
        save_figure(figure, folder / "plots" / f"{name}.png")
    return sorted(plots)


def to_json(value: Any) -> str:
    """JSON text; a value that is no number in JSON (NaN) is null."""

    def clean(v: Any) -> Any:
        if isinstance(v, float) and not math.isfinite(v):
            return None
        if isinstance(v, dict):
            return {k: clean(x) for k, x in v.items()}
        if isinstance(v, list | tuple):
            return [clean(x) for x in v]
        return v

    return json.dumps(clean(value), indent=1, allow_nan=False) + "\n"


def headline_rows(
    evaluation: Evaluation, intervals: Mapping[str, Interval] | None = None
) -> list[Row]:
    """The headline figures, in percent, one a row; with 95 % intervals where they are given."""
    closed, open_set = evaluation.closed, evaluation.detection

    def detected(name: str) -> float | None:
        return None if open_set is None else float(getattr(open_set, name))

    figures: list[tuple[str, str, float | None]] = [
        ("Closed-set accuracy", "accuracy", closed.accuracy),
        ("Macro F1", "macro_f1", closed.macro_f1),
        ("Macro recall", "macro_recall", closed.macro_recall),
        ("AUROC, known against unknown", "auroc", detected("auroc")),
        ("OSCR", "oscr", evaluation.oscr),
        *(
            (title, name, detected(name))
            for title, name in (
                ("TNR at 95 % TPR", "tnr_at_tpr95"),
                ("Detection accuracy", "detection_accuracy"),
                ("AUIN", "auin"),
                ("AUOUT", "auout"),
            )
        ),
        ("Known images kept at the threshold", "acceptance_rate", evaluation.acceptance_rate),
        (
            "Unknown images rejected at the threshold",
            "rejection_rate",
            evaluation.rejection_rate,
        ),
        ("Right answers among all images", "open_accuracy", evaluation.open_accuracy),
    ]
    for found in evaluation.synthetic:
        if found.name == "all":
            figures += [
                ("Real against synthetic: AUROC", "synthetic_auroc", found.auroc),
                (
                    "Real against synthetic: average precision",
                    "synthetic_average_precision",
                    found.average_precision,
                ),
            ]
    return [
        {
            "metric": title,
            "%": percent(value),
            **({"95 % interval": _interval(intervals.get(name))} if intervals else {}),
        }
        for title, name, value in figures
    ]


def unknown_generator_row(result: UnknownResult, *, digits: bool = True) -> Row:
    """One unknown generator's figures: formatted in percent, or as rates in [0, 1].

    The mean score is as it is: a score need not lie in [0, 1].
    """
    rates: dict[str, float] = {
        "AUROC": result.detection.auroc,
        "OSCR": result.oscr,
        "TNR@TPR95": result.detection.tnr_at_tpr95,
        "detection accuracy": result.detection.detection_accuracy,
        "AUIN": result.detection.auin,
        "AUOUT": result.detection.auout,
        "rejected": result.rejection_rate,
    }
    shown: dict[str, Any] = {k: percent(v) for k, v in rates.items()} if digits else dict(rates)
    shown["mean score"] = f"{result.mean_score:.4g}" if digits else result.mean_score
    taken = {"mostly taken for": result.top_prediction, "share": result.top_prediction_share}
    if digits:
        taken["share"] = percent(result.top_prediction_share)
    return {"unknown": result.name, "images": result.images, **shown, **taken}


def all_unknown(found: EvaluatedModel) -> Sequence[UnknownResult]:
    """The results of unknown generators, then of groups of them."""
    return (*found.evaluation.unknown, *found.evaluation.groups)


def tested_sections(found: EvaluatedModel) -> dict[str, str]:
    """Parts of a report's text by name: ``notes``, ``headline``, ``unknown``, ``known`` …"""
    evaluation, model, record = found.evaluation, found.model, found.model.run_metadata
    recalls = [
        {"origin": origin, "images": sum(row), "recall %": percent(recall)}
        for origin, row, recall in zip(
            model.origins, evaluation.closed.confusion, evaluation.closed.recall, strict=True
        )
    ]
    unknown = markdown_table([unknown_generator_row(r) for r in all_unknown(found)])
    low, high = found.tpr_interval
    return {
        "threshold": f"Predictions with a score below {model.threshold:.6g} are `{UNKNOWN}`: that "
        f"keeps {100 * model.tpr:g} % of known validation images and, as there are only so many, "
        f"{100 * low:.1f} to {100 * high:.1f} % of all images like them (95 % interval).",
        "notes": "\n>\n".join(f"> {note}" for note in found.notes),
        "headline": markdown_table(headline_rows(evaluation, found.intervals))
        + f"\nIntervals are bootstrapped over test {_drawn(found)}: they do not say what another "
        "split or other unknown generators would give.",
        "calibration": f"Expected calibration error of known test images: "
        f"{percent(found.calibration.ece)} % (temperature {model.temperature:.3g}). Prediction "
        f"sets asked to hold the true origin of {100 * COVERAGE:g} % of known images hold it for "
        f"{percent(found.coverage.coverage)} % and are of {found.coverage.mean_size:.2f} origins "
        "on average; of images of unknown generators they say nothing.",
        "unknown": f"## Unknown generators\n\n{unknown}" if unknown else "No unknown test images.",
        "synthetic": _synthetic_section(evaluation),
        "hierarchy": _hierarchy_section(found),
        "known": f"## Known origins\n\n{markdown_table(recalls)}",
        "record": f"## Made by\n\nwhichgen {record['whichgen']}, {record['time']}, encoder "
        f"`{model.encoder['name']}` (weights `{model.encoder['weights_hash']}`), data "
        f"`{model.data_hash}`, seeds {record['seeds']}. The whole record is in `results.json`.",
        "skipped": f"**{len(found.skipped)} files were not readable**: see `skipped.txt`."
        if found.skipped
        else "",
    }


def plot_section(plots: Sequence[str]) -> str:
    """Links to the plots."""
    return "## Plots\n\n" + "\n\n".join(f"![{name}](plots/{name}.png)" for name in plots)


def join_sections(sections: Sequence[str]) -> str:
    """Markdown text of the sections that are not empty."""
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


def _drawn(found: EvaluatedModel) -> str:
    return (
        "images" if found.known_table.groups is None else "groups of images, as given by --groups"
    )


def _synthetic_section(evaluation: Evaluation) -> str:
    rows = [
        {
            "synthetic images of": found.name,
            "images": found.images,
            "AUROC": percent(found.auroc),
            "average precision": percent(found.average_precision),
        }
        for found in evaluation.synthetic
    ]
    if not rows:
        return ""
    return (
        "## Real against synthetic\n\nBy the log-odds of not being real, whichever generator is "
        f"the most probable one.\n\n{markdown_table(rows)}"
    )


def _hierarchy_section(found: EvaluatedModel) -> str:
    rows = [
        {
            "test images": result.images,
            "deepest certain answer": result.level,
            "answers": result.count,
            "right %": percent(result.correct / result.count)
            if result.count and result.correct is not None
            else "–",
        }
        for result in found.hierarchy
        if result.count
    ]
    families = found.model.hierarchy.families if found.model.hierarchy else {}
    named = ", ".join(f"{origin} {family}" for origin, family in families.items())
    return (
        "## The deepest certain answer\n\nAn image that is like no known origin may still be like "
        f"a family of generators, or synthetic. Families: {named}.\n\n{markdown_table(rows)}"
    )


def _interval(interval: Interval | None) -> str:
    return f"{percent(interval.low)} – {percent(interval.high)}" if interval else ""


def _results(fit: EvaluatedModel) -> dict[str, Any]:
    return {
        "run_metadata": dict(fit.model.run_metadata),
        "protocol": asdict(fit.protocol),
        "images": {part: dict(counts) for part, counts in fit.images.items()},
        "threshold": {
            "value": fit.model.threshold,
            "tpr": fit.model.tpr,
            "tpr_interval": list(fit.tpr_interval),
        },
        "score": fit.model.score_method,
        "temperature": fit.model.temperature,
        "test": asdict(fit.evaluation),
        "intervals": {name: asdict(found) for name, found in fit.intervals.items()},
        "calibration": asdict(fit.calibration),
        "hierarchy": [asdict(result) for result in fit.hierarchy],
        "coverage": {"target": COVERAGE, **asdict(fit.coverage)},
        "skipped": list(fit.skipped),
        "notes": list(fit.notes),
    }


def _predictions(fit: EvaluatedModel) -> list[Row]:
    grouped = any(s.group for t in (fit.known_table, fit.unknown_table) for s in t.samples)

    def rows(answers: Predictions, table: FeatureTable) -> list[Row]:
        decided = decide(answers.probabilities, answers.scores, fit.model.threshold)
        return [
            {
                "path": str(sample.path),
                "origin": sample.origin,
                **({"group": sample.group} if grouped else {}),
                "answer": UNKNOWN if index < 0 else fit.model.origins[index],
                "score": score,
                **dict(zip((f"p({o})" for o in fit.model.origins), p.tolist(), strict=True)),
            }
            for sample, index, score, p in zip(
                table.samples, decided, answers.scores, answers.probabilities, strict=True
            )
        ]

    return rows(fit.known, fit.known_table) + rows(fit.unknown, fit.unknown_table)


#: Of a run whose controls were all switched off.
NO_CONTROLS = Controls()

SHUFFLE_WARNING = (
    "SHUFFLED LABELS WERE LEARNED: heads fitted on permuted labels are right more often than "
    "chance allows. The true labels reach the fit or the test by some other way; no figure of this "
    "run counts."
)


def shortcut_rows(leaks: ShortcutReport) -> list[Row]:
    """A row for each set of traits, in percent."""
    return [
        {
            "by": found.properties,
            "accuracy": percent(found.accuracy),
            "balanced accuracy": percent(found.balanced_accuracy),
            "AUROC": percent(found.auroc),
            "OSCR": percent(found.oscr),
        }
        for found in leaks.sets
    ]


def controls_section(controls: Controls, evaluation: Evaluation) -> str:
    """Markdown text of the controls that were asked for, beside the model's own figures."""
    detection = evaluation.detection
    model: Row = {
        "by": "**the model**",
        "accuracy": percent(evaluation.closed.accuracy),
        "balanced accuracy": percent(evaluation.closed.macro_recall),
        "AUROC": percent(detection.auroc if detection else None),
        "OSCR": percent(evaluation.oscr),
    }
    text = []
    if controls.shortcuts:
        rows = [*shortcut_rows(controls.shortcuts), model]
        text.append(
            "## Leak check\n\nThe origin predicted from the files without a look at the picture: "
            f"size, format and tables (`file`), mean color and contrast (`color`).\n\n"
            f"{markdown_table(rows)}\n{controls.shortcuts.message}"
        )
    if controls.shuffle:
        text.append(_shuffled(controls.shuffle, evaluation))
    return "\n\n".join(text)


def _shuffled(control: ShuffleControl, evaluation: Evaluation) -> str:
    verdict = f"\n\n**{SHUFFLE_WARNING}**" if control.suspicious else ""
    return f"## Shuffled labels\n\n{shuffle_figures(control, evaluation)}{verdict}"


def shuffle_figures(control: ShuffleControl, evaluation: Evaluation) -> str:
    """What the control by shuffled labels measured, in two sentences."""
    found = [shuffle.balanced_accuracy for shuffle in control.shuffles]
    p = "" if control.p_value is None else f" (p = {control.p_value:.2g}, Student's t)"
    return (
        f"The same head fitted {len(found)} times on permuted training labels: balanced accuracy "
        f"{percent(control.mean)} % on average, {percent(min(found))} to {percent(max(found))} %. "
        f"Guessing has {percent(control.chance)} %{p}, the model "
        f"{percent(evaluation.closed.macro_recall)} %."
    )


def controls_json(controls: Controls) -> dict[str, Any]:
    """The part of ``results.json``."""
    return {
        "shortcut_check": asdict(controls.shortcuts) if controls.shortcuts else None,
        "shuffled_labels": asdict(controls.shuffle) if controls.shuffle else None,
    }
