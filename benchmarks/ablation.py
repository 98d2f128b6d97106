"""Which features, and which way of putting them together: every way on the same splits.

    python benchmarks/ablation.py --shared ../shared/images --out benchmarks/claims

An image is extracted once: the encoder's blocks on the resized image and on crops at native
resolution, each with mean and spread over places, and the traces. A *view* is a set of columns with
a linear probe of its own. Views are pooled by the mean of their log-probabilities (as ``fuse``
does), of their probabilities, or by convex weights learned on validation images of known origins:
``Σ w_v p_v`` by expectation maximization. C is chosen on validation, way by way, like the way
itself; the last columns are means over the choices of unknown generators. ``--perturbation`` puts
every image, training ones too, through one first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from cells import Cell
from claims import ENCODER, SHARED, source_of

from whichgen.data.images.perturbations import parse_perturbation
from whichgen.encoders.base import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.evaluation.detection import auroc
from whichgen.evaluation.oscr import oscr
from whichgen.evaluation.predictions import label_indices
from whichgen.evaluation.protocols import add_leave_out_folds, make_protocol
from whichgen.features.store import FeatureStore
from whichgen.features.table import FeatureTable
from whichgen.heads.fusion import FUSION_C, fit_view
from whichgen.io.atomic import write_text
from whichgen.io.result_files import Row, markdown_table, write_csv
from whichgen.io.run_metadata import collect_run_metadata
from whichgen.training.parallel_sweeps import run_in_processes
from whichgen.training.split_features import SplitFeatures, extract_splits, fold_tables

NAME = f"{ENCODER}:patches+{ENCODER}:patches:crops+traces"

#: The metric of every probe's weights (:mod:`whichgen.heads.fusion`).
SHRINKAGE = 0.1

#: A view: for each of its blocks the share of its columns, from the first one on.
View = tuple[tuple[int, float], ...]

#: Accuracy, AUROC and OSCR.
Figures = tuple[float, ...]

EM_STEPS = 200


@dataclass(frozen=True)
class Way:
    """Views and how they are pooled: ``log``, ``mean`` or ``learned``.

    ``votes`` are the numbers of consecutive views that share a vote; empty: each has one.
    """

    title: str
    views: tuple[View, ...]
    pool: str = "log"
    votes: tuple[int, ...] = ()

    @property
    def shares(self) -> np.ndarray:
        """How much each view weighs, where that is not learned: float64 array (views,)."""
        votes = self.votes or (1,) * len(self.views)
        return np.concatenate([np.full(n, 1 / (n * len(votes))) for n in votes])


def ways_of(encoder: Encoder) -> list[Way]:
    """Every way; the encoder is :data:`NAME`."""
    resized, native, traces = encoder.block_groups
    blocks = [tuple((b, 0.5) for b in vote[0]) for vote in (resized, native)]
    spread = [tuple((b, 1.0) for b in vote[0]) for vote in (resized, native)]
    each = tuple((place,) for place in blocks[0])
    fine: tuple[View, ...] = tuple(((vote[0], 1.0),) for vote in traces)
    wide = tuple((place,) for place in spread[0])
    near = tuple((place,) for place in spread[1])
    shared, alone = (len(each),), (1,) * len(fine)
    everything = (*spread[0], *spread[1], *(place for view in fine for place in view))
    return [
        Way("blocks side by side", (blocks[0],)),
        Way("a probe a block, log-probabilities averaged", each),
        Way("a probe a block, probabilities averaged", each, "mean"),
        Way("a probe a block, learned convex weights", each, "learned"),
        Way("blocks with spread over places", (spread[0],)),
        Way("blocks of native crops", (blocks[1],)),
        Way("blocks of native crops with spread", (spread[1],)),
        Way("resized and native", (blocks[0], blocks[1])),
        Way("resized and native with spread", (spread[0], spread[1])),
        Way("traces", fine),
        Way("blocks side by side, and traces", (blocks[0], *fine)),
        Way(
            "**a vote of all blocks, one of each of the traces (`fuse`)**",
            (*each, *fine),
            "log",
            (*shared, *alone),
        ),
        Way(
            "**a vote of all blocks, one of all traces (`fuse`)**",
            (*each, *fine),
            "log",
            (*shared, len(fine)),
        ),
        Way("a vote of each block and of each of the traces", (*each, *fine)),
        Way(
            "the votes of `fuse`, probabilities averaged", (*each, *fine), "mean", (*shared, *alone)
        ),
        Way("blocks and traces, learned convex weights", (*each, *fine), "learned"),
        Way("the votes of `fuse`, blocks with spread", (*wide, *fine), "log", (*shared, *alone)),
        Way(
            "the same, and a vote of native crops with spread",
            (*wide, *near, *fine),
            "log",
            (*shared, *shared, *alone),
        ),
        Way("all of it side by side", (everything,)),
    ]


def columns(table: FeatureTable, view: View) -> np.ndarray:
    """The features of a view: float32 array (n, d)."""
    parts = [table.block(block) for block, _ in view]
    return np.hstack(
        [x[:, : round(share * x.shape[1])] for x, (_, share) in zip(parts, view, strict=True)]
    )


def _fit(x: np.ndarray, labels: np.ndarray, asked: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """For each C the log-probabilities of the images asked about."""
    probes = fit_view(x, labels, int(labels.max()) + 1, FUSION_C, SHRINKAGE)
    return [[probe.log_probabilities(query) for query in asked] for probe in probes]


def convex_weights(logs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights of views (v, n, k) that make the mixture's labels likeliest: float64 array (v,)."""
    p = np.exp(logs[:, np.arange(len(labels)), labels])
    weights = np.full(len(logs), 1 / len(logs))
    for _ in range(EM_STEPS):
        shares = weights[:, None] * p
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    return weights


def figures(
    pool: str, known: np.ndarray, unknown: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> Figures:
    """Of log-probabilities (views, images, origins)."""

    def answer(logs: np.ndarray) -> np.ndarray:
        if pool == "log":
            return np.tensordot(weights, logs, axes=1)
        return np.tensordot(weights, np.exp(logs), axes=1)

    said, strange = answer(known), answer(unknown).max(axis=1)
    right, scores = said.argmax(axis=1) == labels, said.max(axis=1)
    return float(right.mean()), auroc(scores, strange), oscr(scores, right, strange)


@dataclass(frozen=True)
class Task:
    """Images to fit on, known and unknown ones to test on, and known ones to learn weights on."""

    known: tuple[str, ...]
    train: FeatureTable
    test: FeatureTable
    unknown: FeatureTable
    learn: FeatureTable

    def labels(self, table: FeatureTable) -> np.ndarray:
        """Class indices: int64 array (n,)."""
        return label_indices(table.origins, self.known)


def tasks_of(parts: SplitFeatures) -> list[Task]:
    """The final task, then the folds of the clean protocol."""
    known, of = parts.dataset.known, parts.tables
    tasks = [Task(known, of["train"], of["test"], of["test_unknown"], of["val"])]
    for fold in add_leave_out_folds(make_protocol(parts.dataset), known).folds:
        origins, train, val, unknown = fold_tables(parts, fold)
        tasks.append(Task(origins, train, val, unknown, val))
    return tasks


def of_choice(tasks: Sequence[Task], ways: Sequence[Way]) -> dict[str, dict[str, Figures]]:
    """For each way its validation and test figures at the C that validation chooses."""
    views = list(dict.fromkeys(view for way in ways for view in way.views))
    calls = (
        (
            columns(task.train, view),
            task.labels(task.train),
            [columns(table, view) for table in (task.test, task.unknown, task.learn)],
        )
        for task in tasks
        for view in views
    )
    results = run_in_processes(_fit, calls)
    said = [{view: next(results) for view in views} for _ in tasks]
    found = {}
    for way in ways:
        at_each_c = []
        for c in range(len(FUSION_C)):
            of_tasks = []
            for task, of_view in zip(tasks, said, strict=True):
                test, unknown, learn = (
                    np.stack([of_view[view][c][i] for view in way.views]) for i in range(3)
                )
                weights = (
                    convex_weights(learn, task.labels(task.learn))
                    if way.pool == "learned"
                    else way.shares
                )
                labels = task.labels(task.test)
                of_tasks.append(figures(way.pool, test, unknown, labels, weights))
            at_each_c.append(of_tasks)
        on_val = [tuple(map(fmean, zip(*of_tasks[1:], strict=True))) for of_tasks in at_each_c]
        best = max(range(len(FUSION_C)), key=lambda c: on_val[c][2])
        found[way.title] = {"val": on_val[best], "test": at_each_c[best][0]}
    return found


def main() -> None:
    """Measures the choices that are missing, then writes ``ablation.md`` and ``ablation.csv``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shared", type=Path, required=True, help="the shared images")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/claims"))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "whichgen")
    parser.add_argument("--choices", nargs="+", default=list(SHARED), choices=list(SHARED))
    parser.add_argument("--perturbation", default="", help="as in jpeg:75")
    given = parser.parse_args()
    encoder = load_encoder(NAME, device="auto", dtype="float32")
    ways = ways_of(encoder)
    title = f"ablation {given.perturbation.replace(':', '')}".strip().replace(" ", "-")
    found = []
    for choice in given.choices:
        file = given.out / f"{title}_{choice}.json"
        if not file.is_file():
            source = source_of(Cell("shared", choice, "fusion", 0), {"shared": given.shared})
            store = FeatureStore(given.cache / "features", encoder)
            parts = extract_splits(
                source.open(given.cache),
                encoder,
                store,
                perturbation=parse_perturbation(given.perturbation) if given.perturbation else None,
            )
            made = collect_run_metadata(
                source.as_config(),
                seeds={"seed": 0},
                encoder=encoder.describe(),
                data_hash=parts.data_hash,
            )
            of_ways = of_choice(tasks_of(parts), ways)
            write_text(file, json.dumps({"ways": of_ways, "run_metadata": made}, indent=1))
        found.append(json.loads(file.read_text("utf-8"))["ways"])
        print(choice, "done", flush=True)
    rows: list[Row] = []
    for way in ways:
        on = {
            part: [100 * np.mean([of[way.title][part][m] for of in found]) for m in range(3)]
            for part in ("val", "test")
        }
        rows.append(
            {
                "way": way.title,
                "validation OSCR": f"{on['val'][2]:.1f}",
                **{
                    name: f"{value:.1f}"
                    for name, value in zip(("accuracy", "AUROC", "OSCR"), on["test"], strict=True)
                },
            }
        )
    write_csv(given.out / f"{title}.csv", rows)
    write_text(given.out / f"{title}.md", f"# {title.capitalize()}\n\n{markdown_table(rows)}")
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
