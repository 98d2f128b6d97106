"""Options of selection, validation metrics of candidates, and choice of the best candidate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple, TypeVar

import numpy as np

from whichgen.defaults import FPR, TPR
from whichgen.errors import ConvergenceError, FitError
from whichgen.evaluation.oscr import compute_oscr
from whichgen.evaluation.protocols import check_protocol
from whichgen.evaluation.unknown_detection import compute_auroc
from whichgen.heads.head import Head, HeadMethod, SweepMethod
from whichgen.option_names import name_option

K = TypeVar("K")
C = TypeVar("C", "Candidate", "FusionCandidate")

#: Maps the name of each selection metric to the attribute of a candidate with its value.
METRICS = {"AUC": "auroc", "OSCR": "oscr", "accuracy": "accuracy"}

#: Message for an empty grid.
NO_CANDIDATE = (
    "no candidate can be fitted on every fold. Add training images, or try other hyperparameter "
    "values."
)


class SelectionMetrics(NamedTuple):
    """Metrics for comparing candidates, in [0, 1].

    Parameters
    ----------
    accuracy
        Closed-set accuracy.
    auroc, oscr
        Area under the ROC curve and OSCR (:mod:`whichgen.evaluation.oscr`) of known against unknown
        images; ``None`` without unknown images.
    """

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
        Minimum fraction of known validation images that the open-set threshold accepts, in (0, 1],
        unless this threshold is chosen by precision. In both cases, thresholds of coarser
        predictions depend on ``tpr`` (:func:`~whichgen.openset.hierarchy.fit_hierarchy`).
    precision
        Required fraction of correct answers among the held-out images whose answer is a generator,
        in (0, 1]; :func:`~whichgen.openset.threshold.choose_threshold` states what happens if no
        threshold reaches it. If it is set, the threshold is chosen by precision instead of ``tpr``.
        ``None`` means :data:`~whichgen.defaults.PRECISION` if all training images have sources, and
        otherwise a choice by ``tpr``.
    fpr
        Maximum fraction of the held-out real images that are attributed to a generator, in [0, 1).
        The fraction that reaches the threshold for ``synthetic`` has the same maximum. It is used
        only if the open-set threshold is chosen by precision.
    seed
        Seed of the leave-out folds. If a fusion is trained on images with sources, it is also the
        seed of the source folds.
    jobs
        Number of processes for fitting heads; -1 for one per core.
    thumbnails
        Whether to store thumbnails of the exemplars in the model.

    Raises
    ------
    DataError
        ``protocol`` does not exist.
    FitError
        ``metric`` does not exist, or ``tpr``, ``precision`` or ``fpr`` is out of range.
    """

    metric: str = "AUC"
    protocol: str = "clean"
    tpr: float = TPR
    precision: float | None = None
    fpr: float = FPR
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
                f"{name_option('--tpr')} {self.tpr:g}: the fraction of known images to accept must "
                "be greater than 0 and at most 1, such as 0.95."
            )
        if self.precision is not None and not 0 < self.precision <= 1:
            raise FitError(
                f"`precision` {self.precision:g}: the required fraction of correct answers must be "
                "greater than 0 and at most 1, such as 0.95."
            )
        if not 0 <= self.fpr < 1:
            raise FitError(
                f"`fpr` {self.fpr:g}: the maximum fraction of real images that are attributed to a "
                "generator must be at least 0 and less than 1, such as 0.02."
            )


@dataclass(frozen=True)
class Candidate:
    """A block and a hyperparameter value with their validation metrics.

    Parameters
    ----------
    block
        Index of the block, starting at 0.
    value
        Value of the hyperparameter (C or k).
    accuracy, auroc, oscr
        Validation metrics, in [0, 1]; ``auroc`` and ``oscr`` are ``None`` without unknown images.
    """

    block: int
    value: float
    accuracy: float
    auroc: float | None
    oscr: float | None


@dataclass(frozen=True)
class FusionCandidate:
    """Settings of a fusion with their validation and test metrics.

    Parameters
    ----------
    members
        Name of the set of members (:func:`whichgen.training.fit_views.list_member_sets`).
    value, shrinkage
        C and shrinkage of the probes (:mod:`whichgen.heads.fusion`).
    score
        Name of the open-set score.
    accuracy, auroc, oscr
        Validation metrics, in [0, 1]; ``auroc`` and ``oscr`` are ``None`` without unknown images.
    test_accuracy, test_auroc, test_oscr
        Test metrics, in [0, 1], which are not used for selection; ``None`` if they are not
        computed. AUROC and OSCR are also ``None`` without unknown images.
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
        """The pair (C, shrinkage)."""
        return self.value, self.shrinkage


def compute_selection_metrics(
    scores: np.ndarray, correct: np.ndarray, unknown_scores: np.ndarray
) -> SelectionMetrics:
    """Compute the selection metrics of a candidate.

    Parameters
    ----------
    scores
        Open-set scores of known images: float array (n,), n at least 1.
    correct
        Whether the most probable origin of each known image is correct: bool array (n,).
    unknown_scores
        Open-set scores of unknown images: float array (m,), which may be empty.
    """
    accuracy = float(correct.mean())
    if not len(unknown_scores):
        return SelectionMetrics(accuracy, None, None)
    area = compute_oscr(scores, correct, unknown_scores)
    return SelectionMetrics(accuracy, compute_auroc(scores, unknown_scores), area)


def average_metrics(metrics: Iterable[SelectionMetrics]) -> SelectionMetrics:
    """Average metrics over folds; ``auroc`` and ``oscr`` only over folds with unknown images.

    ``metrics`` contains the metrics of each fold, at least one. ``auroc`` and ``oscr`` are ``None``
    if no fold has unknown images.
    """
    accuracies, *areas = zip(*metrics, strict=True)
    available = ([value for value in column if value is not None] for column in areas)
    return SelectionMetrics(fmean(accuracies), *(fmean(v) if v else None for v in available))


def average_by_key(
    results: Iterable[tuple[K, SelectionMetrics]], n_folds: int
) -> dict[K, SelectionMetrics]:
    """Average the metrics of each key over folds; omit keys that are not in all folds.

    Parameters
    ----------
    results
        Pairs (key, metrics) of all folds; a key occurs at most once per fold.
    n_folds
        Number of folds.
    """
    by_key: dict[K, list[SelectionMetrics]] = defaultdict(list)
    for key, metrics in results:
        by_key[key].append(metrics)
    return {key: average_metrics(m) for key, m in by_key.items() if len(m) == n_folds}


def get_metric(candidate: Candidate | FusionCandidate, metric: str) -> float:
    """Return the selection metric of a candidate; without unknown images, its validation accuracy.

    ``metric`` is a key of :data:`METRICS`. Without unknown images, a candidate's ``auroc`` and
    ``oscr`` are ``None``.
    """
    value: float | None = getattr(candidate, METRICS[metric])
    return candidate.accuracy if value is None else value


def sweep_block(
    head_method: SweepMethod,
    features: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    n_origins: int,
) -> list[tuple[float, SelectionMetrics]]:
    """Fit and evaluate a head for each hyperparameter value, on one block of one fold.

    The open-set score is the maximum probability.

    Parameters
    ----------
    head_method
        Method that fits the heads, with its grid of hyperparameter values.
    features
        Features of n training images, m known images and u unknown images for evaluation: float
        arrays (n, d), (m, d) and (u, d); u may be 0.
    labels
        Origin indices of the training images and of the known images for evaluation: int arrays
        (n,) and (m,).
    n_origins
        Number of known origins.

    Returns
    -------
    list of (float, SelectionMetrics)
        Each hyperparameter value for which the head can be fitted, with its validation metrics.

    Raises
    ------
    FitError
        See :meth:`whichgen.heads.head.SweepMethod.sweep`.
    """
    train, val, unknown = features
    queries = [val, unknown] if len(unknown) else [val]
    results = []
    for value, (p, *unknown_p) in head_method.sweep(train, labels[0], n_origins, queries):
        unknown_scores = unknown_p[0].max(axis=1) if unknown_p else np.empty(0)
        correct = p.argmax(axis=1) == labels[1]
        results.append((value, compute_selection_metrics(p.max(axis=1), correct, unknown_scores)))
    return results


def fit_first(
    head_method: HeadMethod,
    features: np.ndarray,
    labels: np.ndarray,
    n_origins: int,
    values: Sequence[float],
) -> tuple[int, Head | None]:
    """Fit a head with the first of ``values`` for which the solver converges.

    See :meth:`whichgen.heads.head.HeadMethod.fit` for the other parameters.

    Returns
    -------
    index, head
        Index of this value, and the head; the number of values and ``None`` if the solver converges
        for none of them.

    Raises
    ------
    FitError
        The training data or a value is invalid.
    """
    for index, value in enumerate(values):
        with suppress(ConvergenceError):
            return index, head_method.fit(features, labels, n_origins, value)
    return len(values), None


def select_best(grid: Sequence[C], metric: str) -> C:
    """Return the candidate with the highest validation metric; on a tie, return the first.

    ``metric`` is a key of :data:`METRICS`. If its value is ``None``, the accuracy replaces it.

    Raises
    ------
    FitError
        The grid is empty.
    """
    if not grid:
        raise FitError(NO_CANDIDATE)
    return rank_candidates(grid, metric)[0]


def rank_candidates(grid: Sequence[C], metric: str) -> list[C]:
    """Sort candidates by descending validation metric; ties keep their order.

    ``metric`` is a key of :data:`METRICS`. If its value is ``None``, the accuracy replaces it.
    """
    return sorted(grid, key=lambda candidate: get_metric(candidate, metric), reverse=True)
