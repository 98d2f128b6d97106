"""Selection of block and hyperparameter: a grid of candidates, and the best of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple, TypeVar

import numpy as np

from whichgen.defaults import TPR
from whichgen.errors import FitError
from whichgen.evaluation.detection import auroc
from whichgen.evaluation.oscr import oscr
from whichgen.evaluation.protocols import check_protocol
from whichgen.heads.base import SweepMethod

K = TypeVar("K")
C = TypeVar("C", "Candidate", "FusionCandidate")

#: Names of selection metrics, as in the reference implementation, and the attribute they mean.
METRICS = {"AUC": "auroc", "OSCR": "oscr", "accuracy": "accuracy"}


class SelectionMetrics(NamedTuple):
    """Metrics in [0, 1] that candidates are compared by; ``None`` without unknown images."""

    accuracy: float
    auroc: float | None
    oscr: float | None


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
        if self.metric not in METRICS:
            raise FitError(
                f"unknown selection metric {self.metric!r}. Choose from {', '.join(METRICS)}."
            )
        if not 0 < self.tpr <= 1:
            raise FitError(
                f"--tpr {self.tpr:g}: the share of known images to accept must be over 0 and at "
                "most 1, as in 0.95."
            )


@dataclass(frozen=True)
class Candidate:
    """One block and hyperparameter value with its :class:`SelectionMetrics`."""

    block: int
    value: float
    accuracy: float
    auroc: float | None
    oscr: float | None


@dataclass(frozen=True)
class FusionCandidate:
    """Members, C, shrinkage and score, with metrics on validation and on test (not selected by).

    Metrics are ``None`` without unknown images.
    """

    members: str
    value: float
    shrinkage: float
    score: str
    accuracy: float
    auroc: float | None
    oscr: float | None
    test_accuracy: float | None = None
    test_auroc: float | None = None
    test_oscr: float | None = None

    @property
    def setting(self) -> tuple[float, float]:
        """C and shrinkage."""
        return self.value, self.shrinkage


def selection_metrics(
    scores: np.ndarray, correct: np.ndarray, unknown_scores: np.ndarray
) -> SelectionMetrics:
    """Compute the metrics of known images, scores and bool (n,), and unknown scores (m,)."""
    accuracy = float(correct.mean())
    if not len(unknown_scores):
        return SelectionMetrics(accuracy, None, None)
    area = oscr(scores, correct, unknown_scores)
    return SelectionMetrics(accuracy, auroc(scores, unknown_scores), area)


def average_metrics(folds: Iterable[SelectionMetrics]) -> SelectionMetrics:
    """Average metrics over folds; folds without unknown images count for accuracy only."""
    accuracies, *areas = zip(*folds, strict=True)
    available = ([value for value in column if value is not None] for column in areas)
    return SelectionMetrics(fmean(accuracies), *(fmean(v) if v else None for v in available))


def average_by_key(
    results: Iterable[tuple[K, SelectionMetrics]], n_folds: int
) -> dict[K, SelectionMetrics]:
    """Average the metrics of each key over folds, and drop keys that some fold lacks."""
    by_key: dict[K, list[SelectionMetrics]] = defaultdict(list)
    for key, metrics in results:
        by_key[key].append(metrics)
    return {key: average_metrics(m) for key, m in by_key.items() if len(m) == n_folds}


def metric_value(candidate: Candidate | FusionCandidate, metric: str) -> float:
    """Return one of :data:`METRICS`, or the accuracy if that metric needs unknown images."""
    value: float | None = getattr(candidate, METRICS[metric])
    return candidate.accuracy if value is None else value


def sweep_block(
    head_method: SweepMethod,
    features: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    n_origins: int,
) -> list[tuple[float, SelectionMetrics]]:
    """Fit every hyperparameter value on one block of one fold, and measure each on validation.

    Parameters
    ----------
    features
        Of training, known validation and unknown validation images: three float arrays (n, d).
    labels
        Of training and known validation images: two int arrays (n,).
    """
    train, val, unknown = features
    queries = [val, unknown] if len(unknown) else [val]
    results = []
    for value, (p, *unknown_p) in head_method.sweep(train, labels[0], n_origins, queries):
        unknown_scores = unknown_p[0].max(axis=1) if unknown_p else np.empty(0)
        correct = p.argmax(axis=1) == labels[1]
        results.append((value, selection_metrics(p.max(axis=1), correct, unknown_scores)))
    return results


def select_best(grid: Sequence[C], metric: str) -> C:
    """Select the best candidate; on a tie the first.

    Raises
    ------
    FitError
        The grid is empty.
    """
    if not grid:
        raise FitError("no candidate: no block, or no hyperparameter value fits the images.")
    return max(grid, key=lambda candidate: metric_value(candidate, metric))
