"""Selection of block and hyperparameter: a grid of candidates, and the best of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple, Protocol

import numpy as np

from whichgen.constants import TPR
from whichgen.errors import FitError
from whichgen.evaluation.detection import auroc
from whichgen.evaluation.oscr import oscr
from whichgen.evaluation.protocols import check_protocol
from whichgen.heads.base import SweepMethod

#: Names of selection metrics, as in the reference implementation, and the attribute they mean.
METRICS = {"AUC": "auroc", "OSCR": "oscr", "accuracy": "accuracy"}


class SelectionMetrics(NamedTuple):
    """Metrics in [0, 1] that candidates are compared by; ``None`` without unknown images."""

    accuracy: float
    auroc: float | None
    oscr: float | None


class HasMetrics(Protocol):
    """A candidate with the attributes of :class:`SelectionMetrics`."""

    @property
    def accuracy(self) -> float: ...
    @property
    def auroc(self) -> float | None: ...
    @property
    def oscr(self) -> float | None: ...


@dataclass(frozen=True, kw_only=True)
class SelectionOptions:
    """Options of every selection.

    Parameters
    ----------
    metric
        Validation metric to maximize: ``AUC``, ``OSCR`` or ``accuracy``.
    protocol
        ``clean`` or ``paper`` (see :mod:`whichgen.evaluation.protocols`).
    tpr
        Share of known validation images to accept at the threshold, in (0, 1].
    seed
        Seed of the leave-out folds.
    jobs
        Number of processes that fit heads; -1: one per core.
    thumbnails
        Store thumbnails of some training and validation images.

    Raises
    ------
    DataError, FitError
        The protocol, the metric or the share is invalid.
    """

    metric: str = "AUC"
    protocol: str = "clean"
    tpr: float = TPR
    seed: int = 0
    jobs: int = -1
    thumbnails: bool = False

    def __post_init__(self) -> None:
        check_protocol(self.protocol)
        check_metric(self.metric)
        if not 0 < self.tpr <= 1:
            raise FitError(
                f"--tpr {self.tpr:g}: the share of known images to accept must be over 0 and at "
                "most 1, as in 0.95."
            )


@dataclass(frozen=True)
class FoldFeatures:
    """One fold's features of one block: float arrays (n, d) with int label arrays (n,)."""

    train: np.ndarray
    train_labels: np.ndarray
    val: np.ndarray
    val_labels: np.ndarray
    unknown: np.ndarray
    n_origins: int


@dataclass(frozen=True)
class Candidate:
    """One block and hyperparameter value with its :class:`SelectionMetrics`."""

    block: int
    value: float
    accuracy: float
    auroc: float | None
    oscr: float | None


def selection_metrics(
    scores: np.ndarray, correct: np.ndarray, unknown_scores: np.ndarray
) -> SelectionMetrics:
    """Compute the metrics of known images, scores and bool (n,), and unknown scores (m,)."""
    accuracy = float(correct.mean())
    if not len(unknown_scores):
        return SelectionMetrics(accuracy, None, None)
    area = oscr(scores, correct, unknown_scores)
    return SelectionMetrics(accuracy, auroc(scores, unknown_scores), area)


def average_metrics(metrics: Iterable[HasMetrics]) -> SelectionMetrics:
    """Average metrics over folds; folds without unknown images count for accuracy only."""
    folds = list(metrics)
    aurocs = [fold.auroc for fold in folds if fold.auroc is not None]
    oscrs = [fold.oscr for fold in folds if fold.oscr is not None]
    return SelectionMetrics(
        fmean(fold.accuracy for fold in folds),
        fmean(aurocs) if aurocs else None,
        fmean(oscrs) if oscrs else None,
    )


def metric_value(candidate: HasMetrics, metric: str) -> float:
    """Return one of :data:`METRICS`, or the accuracy if that metric needs unknown images."""
    value: float | None = getattr(candidate, METRICS[metric])
    return candidate.accuracy if value is None else value


def sweep_block(block: int, head_method: SweepMethod, fold: FoldFeatures) -> list[Candidate]:
    """Fit every hyperparameter value on one block of one fold, and measure each on validation."""
    candidates = []
    queries = [fold.val, fold.unknown] if len(fold.unknown) else [fold.val]
    for value, (known, *unknown) in head_method.sweep(
        fold.train, fold.train_labels, fold.n_origins, queries
    ):
        metrics = selection_metrics(
            known.max(axis=1),
            known.argmax(axis=1) == fold.val_labels,
            unknown[0].max(axis=1) if unknown else np.empty(0),
        )
        candidates.append(Candidate(block, value, *metrics))
    return candidates


def average_folds(folds: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """Average candidates over folds, and drop the values that some fold could not fit."""
    by_setting: dict[tuple[int, float], list[Candidate]] = defaultdict(list)
    for fold in folds:
        for candidate in fold:
            by_setting[candidate.block, candidate.value].append(candidate)
    return [
        Candidate(block, value, *average_metrics(candidates))
        for (block, value), candidates in by_setting.items()
        if len(candidates) == len(folds)
    ]


def check_metric(name: str) -> None:
    """Raise :class:`FitError` unless the name is one of :data:`METRICS`."""
    if name not in METRICS:
        raise FitError(f"unknown selection metric {name!r}. Choose from {', '.join(METRICS)}.")


def select_best(grid: Sequence[Candidate], metric: str) -> Candidate:
    """Select the best candidate; on a tie the first: the lowest block, then the smallest value.

    Raises
    ------
    FitError
        The grid is empty.
    """
    if not grid:
        raise FitError("no candidate: no block, or no hyperparameter value fits the images.")
    return max(grid, key=lambda candidate: metric_value(candidate, metric))


def select_per_block(grid: Sequence[Candidate], metric: str) -> list[Candidate]:
    """Select the best candidate of each block, in the order of blocks."""
    blocks = sorted({candidate.block for candidate in grid})
    return [select_best([c for c in grid if c.block == block], metric) for block in blocks]
