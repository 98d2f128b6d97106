"""Views of a fusion: fitted once per block and setting, and compared in every set of members."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import TypeVar

import numpy as np

from whichgen.encoders.base import Encoder
from whichgen.evaluation.predictions import Predictions, label_indices
from whichgen.features.table import FeatureTable
from whichgen.heads.fusion import FusionHead, ViewProbe, build_fusion, fit_view
from whichgen.openset.base import OpenSetScore
from whichgen.openset.registry import score_method
from whichgen.progress import Progress
from whichgen.training.selection import SelectionMetrics, average_metrics, selection_metrics
from whichgen.training.split_features import FoldTables
from whichgen.training.sweeps import run_in_processes

K = TypeVar("K")

#: Shrinkage and C of a probe.
Setting = tuple[float, float]

#: Sets of blocks: each block has its own probe, each set one vote.
Votes = tuple[tuple[int, ...], ...]

#: Marks a set of members in which each member has one vote.
EVEN = "one vote each"

#: The score by which members, C and shrinkage are selected: agreement of the views.
AGREEMENT = "max_logit"


@dataclass(frozen=True)
class FittedViews:
    """Every block's probes, one for each setting, and the images they are fitted and tested on."""

    probes: list[list[ViewProbe]]
    known: tuple[str, ...]
    train: FeatureTable
    known_images: FeatureTable
    unknown_images: FeatureTable


def member_sets(encoder: Encoder) -> dict[str, Votes]:
    """Return the votes of every set of an encoder's members, by name; the largest set last.

    If members have different numbers of votes, the set occurs twice, first with one vote for each
    member.
    """
    full_names = [member["name"] for member in encoder.preprocessing.get("members", ())]
    full_names = full_names or [encoder.name]
    names = [Path(name).name for name in full_names]
    if len(set(names)) < len(names):  # folders with the same name in different places
        names = full_names
    sets: dict[str, Votes] = {}
    for size in range(1, len(names) + 1):
        for members in combinations(range(len(names)), size):
            name = " + ".join(names[m] for m in members)
            if len({len(encoder.block_groups[m]) for m in members}) > 1:
                sets[f"{name}, {EVEN}"] = tuple(
                    tuple(chain(*encoder.block_groups[m])) for m in members
                )
            sets[name] = tuple(chain(*(encoder.block_groups[m] for m in members)))
    return sets


def fit_views(
    folds: Sequence[tuple[tuple[str, ...], FoldTables]],
    blocks: Sequence[int],
    settings: Sequence[Setting],
    *,
    jobs: int,
    progress: Progress,
) -> list[FittedViews]:
    """Fit every block's probe for each setting on each fold: known origins and tables.

    Folds with the same known origins share their training images, and their probes.
    """
    training_tables = {known: train for known, (train, _, _) in reversed(folds)}
    by_shrinkage: dict[float, list[float]] = defaultdict(list)
    for shrinkage, value in settings:
        by_shrinkage[shrinkage].append(value)
    calls = (
        (table.block(block), label_indices(table.origins, known), len(known), values, shrinkage)
        for known, table in training_tables.items()
        for block in blocks
        for shrinkage, values in by_shrinkage.items()
    )
    total = len(training_tables) * len(blocks) * len(by_shrinkage)
    fits = iter(
        progress(
            run_in_processes(fit_view, calls, jobs=jobs), description="Fitting views", total=total
        )
    )
    probes = {
        known: [[probe for _ in by_shrinkage for probe in next(fits)] for _ in blocks]
        for known in training_tables
    }
    next(fits, None)  # joblib's generator must be exhausted
    return [FittedViews(probes[known], known, *tables) for known, tables in folds]


def evaluate_member_sets(
    views: FittedViews, sets: Mapping[str, Votes], settings: Sequence[Setting]
) -> Iterator[tuple[tuple[str, Setting], SelectionMetrics]]:
    """Measure every set of members at every setting by the views' agreement."""
    tables = (views.known_images, views.unknown_images)
    log_probabilities = [
        [
            np.stack([probe.log_probabilities(table.block(block)) for probe in path])
            for block, path in enumerate(views.probes)
        ]
        for table in tables
    ]
    for name, votes in sets.items():
        pooled = [
            np.mean([np.mean([by_block[b] for b in vote], axis=0) for vote in votes], axis=0)
            for by_block in log_probabilities
        ]
        for i, setting in enumerate(settings):
            known, unknown = (
                Predictions(z[i], table.origins, np.max(z[i], axis=1))
                for z, table in zip(pooled, tables, strict=True)
            )
            yield (name, setting), _measure(known, unknown, views.known)


def evaluate_scores(
    views: FittedViews, head: FusionHead, blocks: Sequence[int], names: Sequence[str]
) -> tuple[dict[str, SelectionMetrics], dict[str, OpenSetScore]]:
    """Fit every open-set score on the training images and compute its selection metrics.

    The metrics are computed on validation images.

    Returns
    -------
    dict, dict
        The selection metrics and the fitted scores, by name of the score.
    """
    labels = label_indices(views.train.origins, views.known)
    train = head.forward(views.train.blocks(blocks))
    outputs = [
        (table.origins, head.forward(table.blocks(blocks)))
        for table in (views.known_images, views.unknown_images)
    ]
    metrics, scores = {}, {}
    for name in names:
        score = scores[name] = score_method(name).fit(train, labels, len(views.known))
        known, unknown = (
            Predictions(output.logits, origins, score(output)) for origins, output in outputs
        )
        metrics[name] = _measure(known, unknown, views.known)
    return metrics, scores


def fuse_views(views: FittedViews, votes: Votes, setting: int) -> FusionHead:
    """Fuse the probes of one setting, given by its index."""
    blocks = list(chain(*votes))
    probes = [views.probes[block][setting] for block in blocks]
    return build_fusion(probes, [len(vote) for vote in votes], views.train.blocks(blocks))


def average_by_key(
    folds: Iterable[Iterable[tuple[K, SelectionMetrics]]],
) -> dict[K, SelectionMetrics]:
    """Average the metrics of each key over folds."""
    by_key: dict[K, list[SelectionMetrics]] = defaultdict(list)
    for key, metrics in chain.from_iterable(folds):
        by_key[key].append(metrics)
    return {key: average_metrics(metrics) for key, metrics in by_key.items()}


def _measure(known: Predictions, unknown: Predictions, origins: Sequence[str]) -> SelectionMetrics:
    return selection_metrics(known.scores, known.is_correct(origins), unknown.scores)
