"""Selection of the block and hyperparameter from a grid of candidates."""

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

#: Attribute of each selection metric; the names are those of the reference implementation.
METRICS = {"AUC": "auroc", "OSCR": "oscr", "accuracy": "accuracy"}


class SelectionMetrics(NamedTuple):
    """Metrics for comparing candidates, in [0, 1], or ``None`` without unknown images."""

    accuracy: float
    auroc: float | None
    oscr: float | None


@dataclass(frozen=True, kw_only=True)
class SelectionOptions:
    """Options of selection that all methods share.

    Parameters
    ----------
    metric
        Validation metric to maximize: ``AUC``, ``OSCR`` or ``accuracy``.
    protocol
        ``clean`` or ``paper`` (see :mod:`whichgen.evaluation.protocols`).
    tpr
        Fraction of known validation images to accept at the threshold, in (0, 1].
    seed
        Seed of the leave-out folds.
    jobs
        Number of processes for fitting heads; -1 for one per core.
    thumbnails
        Whether to store thumbnails of the exemplars in the model.

    Raises
    ------
    DataError, FitError
        ``protocol``, ``metric`` or ``tpr`` is invalid.
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
                f"--tpr {self.tpr:g}: the fraction of known images to accept must be greater than "
                "0 and at most 1, such as 0.95."
            )


@dataclass(frozen=True)
class Candidate:
    """One block and hyperparameter value with its validation metrics."""

    block: int
    value: float
    accuracy: float
    auroc: float | None
    oscr: float | None


@dataclass(frozen=True)
class FusionCandidate:
    """Settings of a fusion with its validation and test metrics.

    Parameters
    ----------
    members
        Name of the set of members (:func:`whichgen.training.views.member_sets`).
    value, shrinkage
        C and shrinkage of the probes (:mod:`whichgen.heads.fusion`).
    score
        Name of the open-set score.
    accuracy, auroc, oscr
        Validation metrics; ``None`` without unknown images.
    test_accuracy, test_auroc, test_oscr
        Test metrics, not used for selection; ``None`` if not computed or without unknown images.
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
    """Compute the metrics of a candidate.

    Parameters
    ----------
    scores, correct
        Scores of known images, float array (n,), and whether their top-1 origin is correct, bool
        array (n,).
    unknown_scores
        Scores of unknown images: float array (m,).
    """
    accuracy = float(correct.mean())
    if not len(unknown_scores):
        return SelectionMetrics(accuracy, None, None)
    area = oscr(scores, correct, unknown_scores)
    return SelectionMetrics(accuracy, auroc(scores, unknown_scores), area)


def average_metrics(folds: Iterable[SelectionMetrics]) -> SelectionMetrics:
    """Average metrics over folds; ``auroc`` and ``oscr`` only over folds with unknown images."""
    accuracies, *areas = zip(*folds, strict=True)
    available = ([value for value in column if value is not None] for column in areas)
    return SelectionMetrics(fmean(accuracies), *(fmean(v) if v else None for v in available))


def average_by_key(
    results: Iterable[tuple[K, SelectionMetrics]], n_folds: int
) -> dict[K, SelectionMetrics]:
    """Average the metrics of each key over folds; omit keys that are not in all folds."""
    by_key: dict[K, list[SelectionMetrics]] = defaultdict(list)
    for key, metrics in results:
        by_key[key].append(metrics)
    return {key: average_metrics(m) for key, m in by_key.items() if len(m) == n_folds}


def metric_value(candidate: Candidate | FusionCandidate, metric: str) -> float:
    """Return the value of one of :data:`METRICS`, or the accuracy if the value is ``None``."""
    value: float | None = getattr(candidate, METRICS[metric])
    return candidate.accuracy if value is None else value


def sweep_block(
    head_method: SweepMethod,
    features: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    n_origins: int,
) -> list[tuple[float, SelectionMetrics]]:
    """Fit and evaluate a head for each hyperparameter value, on one block of one fold.

    Parameters
    ----------
    features
        Features of training, known and unknown validation images: three float arrays (n, d).
    labels
        Label indices of training and known validation images: two int arrays (n,).

    Returns
    -------
    list of (float, SelectionMetrics)
        Each hyperparameter value with its validation metrics.
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
    """Return the candidate with the highest metric, the first one on a tie.

    Raises
    ------
    FitError
        The grid is empty.
    """
    if not grid:
        raise FitError(
            "no candidate can be fitted on every fold. Add training images, or try other "
            "hyperparameter values."
        )
    return max(grid, key=lambda candidate: metric_value(candidate, metric))
