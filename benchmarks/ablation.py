"""Compare features and ways to combine them, on the same splits.

    python benchmarks/ablation.py --shared ../shared/images --out benchmarks/claims

The features of an image are the encoder's blocks on the resized image and on crops at native
resolution, each with mean and standard deviation over patches, and the residual statistics. A
*view* is a set of columns with its own linear probe. Views are pooled by the mean of their
log-probabilities (as ``whichgen fuse`` does), by the mean of their probabilities, or by learned
convex weights: Σ w_v p_v, where expectation maximization fits w_v on validation images of known
origins. C is selected by validation OSCR for each variant. The table contains means over the
choices of unknown generators. ``--perturbation`` applies a perturbation to all images, including
training images.
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
from claims import ENCODER, SHARED, make_dataset_options

from whichgen.data.images.perturbations import parse_perturbation
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.evaluation.oscr import compute_oscr
from whichgen.evaluation.predictions import encode_labels
from whichgen.evaluation.protocols import add_leave_out_folds, make_protocol
from whichgen.evaluation.unknown_detection import compute_auroc
from whichgen.features.store import FeatureStore
from whichgen.features.table import FeatureTable
from whichgen.heads.fusion import FUSION_C, fit_view
from whichgen.io.atomic_writes import write_text
from whichgen.io.result_files import Row, format_markdown_table, write_csv
from whichgen.io.run_metadata import collect_run_metadata
from whichgen.training.parallel_sweeps import run_in_processes
from whichgen.training.split_features import SplitFeatures, extract_splits, select_fold_tables

#: Combined encoder that computes the features of all variants.
NAME = f"{ENCODER}:patches+{ENCODER}:patches:crops+traces"

#: Shrinkage of all probes (:mod:`whichgen.heads.fusion`).
SHRINKAGE = 0.1

#: Number of steps of expectation maximization.
EM_STEPS = 200

#: Blocks of a view, each with the fraction of its columns that are used, from the first on.
View = tuple[tuple[int, float], ...]

#: Accuracy, AUROC and OSCR.
Metrics = tuple[float, ...]


@dataclass(frozen=True)
class Variant:
    """Views and the way they are pooled.

    Parameters
    ----------
    title
        Name of the variant in the table.
    views
        The views.
    pool
        ``log`` for the mean of log-probabilities, ``mean`` for the mean of probabilities, or
        ``learned`` for learned convex weights.
    views_per_vote
        Number of consecutive views in each vote; if empty, each view has its own vote.
    """

    title: str
    views: tuple[View, ...]
    pool: str = "log"
    views_per_vote: tuple[int, ...] = ()

    @property
    def weights(self) -> np.ndarray:
        """Weight of each view if weights are not learned: float64 array (views,)."""
        sizes = self.views_per_vote or (1,) * len(self.views)
        return np.concatenate([np.full(n, 1 / (n * len(sizes))) for n in sizes])


def list_variants(encoder: Encoder) -> list[Variant]:
    """List all variants for the encoder :data:`NAME`."""
    resized, native, traces = encoder.block_groups
    # The first half of the columns of a block are the means over patches.
    means = [tuple((b, 0.5) for b in group[0]) for group in (resized, native)]
    stds = [tuple((b, 1.0) for b in group[0]) for group in (resized, native)]
    mean_views = tuple((block,) for block in means[0])
    std_views = tuple((block,) for block in stds[0])
    crop_views = tuple((block,) for block in stds[1])
    trace_views: tuple[View, ...] = tuple(((group[0], 1.0),) for group in traces)
    n_blocks, single = len(mean_views), (1,) * len(trace_views)
    all_blocks = (*stds[0], *stds[1], *(block for view in trace_views for block in view))
    return [
        Variant("one probe for all blocks", (means[0],)),
        Variant("one probe per block, mean of log-probabilities", mean_views),
        Variant("one probe per block, mean of probabilities", mean_views, "mean"),
        Variant("one probe per block, learned convex weights", mean_views, "learned"),
        Variant("one probe for all blocks, with std", (stds[0],)),
        Variant("one probe for all blocks of crops", (means[1],)),
        Variant("one probe for all blocks of crops, with std", (stds[1],)),
        Variant("resized image and crops", (means[0], means[1])),
        Variant("resized image and crops, with std", (stds[0], stds[1])),
        Variant("traces", trace_views),
        Variant("one probe for all blocks, and traces", (means[0], *trace_views)),
        Variant(
            "**one vote for all blocks, one for each block of traces (`fuse`)**",
            (*mean_views, *trace_views),
            "log",
            (n_blocks, *single),
        ),
        Variant(
            "**one vote for all blocks, one for all traces (`fuse`)**",
            (*mean_views, *trace_views),
            "log",
            (n_blocks, len(trace_views)),
        ),
        Variant("one vote for each block and each block of traces", (*mean_views, *trace_views)),
        Variant(
            "votes of `fuse`, mean of probabilities",
            (*mean_views, *trace_views),
            "mean",
            (n_blocks, *single),
        ),
        Variant(
            "blocks and traces, learned convex weights", (*mean_views, *trace_views), "learned"
        ),
        Variant(
            "votes of `fuse`, blocks with std",
            (*std_views, *trace_views),
            "log",
            (n_blocks, *single),
        ),
        Variant(
            "the same, and one vote for crops with std",
            (*std_views, *crop_views, *trace_views),
            "log",
            (n_blocks, n_blocks, *single),
        ),
        Variant("one probe for all features", (all_blocks,)),
    ]


def select_columns(table: FeatureTable, view: View) -> np.ndarray:
    """Return the features of a view: float32 array (n, d)."""
    blocks = [table.read_block(block) for block, _ in view]
    return np.hstack(
        [
            x[:, : round(fraction * x.shape[1])]
            for x, (_, fraction) in zip(blocks, view, strict=True)
        ]
    )


def fit_probes(
    x: np.ndarray, labels: np.ndarray, queries: Sequence[np.ndarray]
) -> list[list[np.ndarray]]:
    """Fit a probe for each C, and return its log-probabilities of each query set."""
    probes = fit_view(x, labels, int(labels.max()) + 1, FUSION_C, SHRINKAGE)
    return [[probe.predict_log_probabilities(query) for query in queries] for probe in probes]


def fit_convex_weights(log_probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Maximize the likelihood of labels (n,) under a mixture of views (views, n, origins).

    Returns the weights: float64 array (views,).
    """
    p = np.exp(log_probabilities[:, np.arange(len(labels)), labels])
    weights = np.full(len(p), 1 / len(p))
    for _ in range(EM_STEPS):
        responsibilities = weights[:, None] * p
        weights = (responsibilities / responsibilities.sum(axis=0)).mean(axis=1)
    return weights


def compute_metrics(
    pool: str, known: np.ndarray, unknown: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> Metrics:
    """Pool log-probabilities (views, n, origins) of known and unknown images, and evaluate them."""

    def combine(log_probabilities: np.ndarray) -> np.ndarray:
        values = log_probabilities if pool == "log" else np.exp(log_probabilities)
        return np.tensordot(weights, values, axes=1)

    outputs, unknown_scores = combine(known), combine(unknown).max(axis=1)
    correct, scores = outputs.argmax(axis=1) == labels, outputs.max(axis=1)
    return (
        float(correct.mean()),
        compute_auroc(scores, unknown_scores),
        compute_oscr(scores, correct, unknown_scores),
    )


@dataclass(frozen=True)
class Task:
    """Known origins and feature tables of one fit.

    Parameters
    ----------
    origins
        The known origins.
    train
        Training images.
    test, unknown
        Known and unknown images for evaluation.
    val
        Known images on which convex weights are learned.
    """

    origins: tuple[str, ...]
    train: FeatureTable
    test: FeatureTable
    unknown: FeatureTable
    val: FeatureTable

    def labels(self, table: FeatureTable) -> np.ndarray:
        """Return the origin index of each image: int64 array (n,)."""
        return encode_labels(table.origins, self.origins)


def list_tasks(features: SplitFeatures) -> list[Task]:
    """Return the task of the test images, then one task per fold of the protocol ``clean``."""
    known, tables = features.dataset.known, features.tables
    test, unknown = tables["test"], tables["test_unknown"]
    tasks = [Task(known, tables["train"], test, unknown, tables["val"])]
    for fold in add_leave_out_folds(make_protocol(features.dataset), known).folds:
        origins, train, val, val_unknown = select_fold_tables(features, fold)
        tasks.append(Task(origins, train, val, val_unknown, val))
    return tasks


def evaluate_variants(
    tasks: Sequence[Task], variants: Sequence[Variant]
) -> dict[str, dict[str, Metrics]]:
    """Return the validation and test metrics of each variant, with the best C on validation data.

    The result maps titles of variants to dictionaries with the keys ``val`` and ``test``.
    """
    views = list(dict.fromkeys(view for variant in variants for view in variant.views))
    calls = (
        (
            select_columns(task.train, view),
            task.labels(task.train),
            [select_columns(table, view) for table in (task.test, task.unknown, task.val)],
        )
        for task in tasks
        for view in views
    )
    results = run_in_processes(fit_probes, calls)
    outputs = [{view: next(results) for view in views} for _ in tasks]
    best_metrics = {}
    for variant in variants:
        by_c = []
        for c in range(len(FUSION_C)):
            by_task = []
            for task, by_view in zip(tasks, outputs, strict=True):
                test, unknown, val = (
                    np.stack([by_view[view][c][i] for view in variant.views]) for i in range(3)
                )
                weights = variant.weights
                if variant.pool == "learned":
                    weights = fit_convex_weights(val, task.labels(task.val))
                labels = task.labels(task.test)
                by_task.append(compute_metrics(variant.pool, test, unknown, labels, weights))
            by_c.append(by_task)
        validation = [tuple(map(fmean, zip(*by_task[1:], strict=True))) for by_task in by_c]
        best = max(range(len(FUSION_C)), key=lambda c: validation[c][2])
        best_metrics[variant.title] = {"val": validation[best], "test": by_c[best][0]}
    return best_metrics


def main() -> None:
    """Measure the missing choices, and write ``ablation.md`` and ``ablation.csv``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shared", type=Path, required=True, help="folder of the shared images")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/claims"))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "whichgen")
    parser.add_argument("--choices", nargs="+", default=list(SHARED), choices=list(SHARED))
    parser.add_argument("--perturbation", default="", help="for example jpeg:75")
    arguments = parser.parse_args()
    encoder = load_encoder(NAME, device="auto", dtype="float32")
    variants = list_variants(encoder)
    perturbation = parse_perturbation(arguments.perturbation) if arguments.perturbation else None
    title = f"ablation {arguments.perturbation.replace(':', '')}".strip().replace(" ", "-")
    choices = []
    for choice in arguments.choices:
        file = arguments.out / f"{title}_{choice}.json"
        if not file.is_file():
            cell = Cell("shared", choice, "fusion", 0)
            options = make_dataset_options(cell, {"shared": arguments.shared})
            store = FeatureStore(arguments.cache / "features", encoder)
            features = extract_splits(
                options.open(arguments.cache), encoder, store, perturbation=perturbation
            )
            run_metadata = collect_run_metadata(
                options.as_config(),
                seeds={"seed": 0},
                encoder=encoder.describe(),
                data_hash=features.data_hash,
            )
            metrics = evaluate_variants(list_tasks(features), variants)
            write_text(file, json.dumps({"ways": metrics, "run_metadata": run_metadata}, indent=1))
        choices.append(json.loads(file.read_text("utf-8"))["ways"])
        print(choice, "done", flush=True)
    rows: list[Row] = []
    for variant in variants:
        means = {
            part: [
                100 * np.mean([metrics[variant.title][part][m] for metrics in choices])
                for m in range(3)
            ]
            for part in ("val", "test")
        }
        rows.append(
            {
                "variant": variant.title,
                "validation OSCR": f"{means['val'][2]:.1f}",
                **{
                    name: f"{value:.1f}"
                    for name, value in zip(
                        ("accuracy", "AUROC", "OSCR"), means["test"], strict=True
                    )
                },
            }
        )
    write_csv(arguments.out / f"{title}.csv", rows)
    write_text(
        arguments.out / f"{title}.md", f"# {title.capitalize()}\n\n{format_markdown_table(rows)}"
    )
    print(format_markdown_table(rows))


if __name__ == "__main__":
    main()
