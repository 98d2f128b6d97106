"""Cumulative counts over score thresholds, from which every threshold-free metric is computed.

A bootstrap resample is a vector of weights: how often each sample was drawn. Scores are sorted
once; from the highest threshold down, the weight at or above it is a cumulative sum::

    TP(θ) = Σ wᵢ over positive samples with sᵢ ≥ θ
    FP(θ) = Σ vⱼ over negative samples with sⱼ ≥ θ

The plain metric is the weighted one with a single row of ones (:func:`once_each`). Arrays of counts
have the shape (rows, thresholds + 1): one row per resample, the thresholds descending, and a
leading column of zeros for a threshold above every score.
"""

from __future__ import annotations

from collections.abc import Sized

import numpy as np


def once_each(samples: Sized) -> np.ndarray:
    """Return weights that count every sample once: float64 array (1, n)."""
    return np.ones((1, len(samples)))


class ScoreRanking:
    """Scores of positive (n,) and negative (m,) samples, sorted at all distinct thresholds."""

    def __init__(self, positive: np.ndarray, negative: np.ndarray) -> None:
        scores = np.concatenate([positive, negative])
        order = np.argsort(-scores)
        descending = scores[order]
        # Positions of the last sample at each threshold.
        last = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))
        is_positive = order < len(positive)
        counts = np.cumsum(is_positive)[last]
        self._positive = order[is_positive], np.append(0, counts)
        self._negative = order[~is_positive] - len(positive), np.append(0, last + 1 - counts)

    def positive(self, weights: np.ndarray) -> np.ndarray:
        """Weight of positive samples at or above each threshold: float64 (rows, thresholds + 1).

        ``weights`` is a float64 array (rows, n) of whole numbers: how often each sample counts.
        """
        return _accumulate(weights, *self._positive)

    def negative(self, weights: np.ndarray) -> np.ndarray:
        """Weight of negative samples at or above each threshold; weights (rows, m)."""
        return _accumulate(weights, *self._negative)


def _accumulate(weights: np.ndarray, order: np.ndarray, counts: np.ndarray) -> np.ndarray:
    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights[:, order], axis=1, out=sums[:, 1:])
    return np.asarray(sums[:, counts])


def area(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Area under each row's curve by the trapezoid rule: (rows, points) → (rows,)."""
    return np.asarray((np.diff(x, axis=1) * (y[:, 1:] + y[:, :-1])).sum(axis=1) / 2)


def roc_area(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of cumulative counts: (rows, points) → (rows,)."""
    if len(positive) == 1:
        # Drop collinear points as scikit-learn does, so that equal curves round to equal areas.
        points = np.ones(positive.shape[1], dtype=bool)
        points[2:-1] = np.diff([positive[0, 1:], negative[0, 1:]], 2).any(axis=0)
        positive, negative = positive[:, points], negative[:, points]
    return area(negative / negative[:, -1:], positive / positive[:, -1:])


def precision(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Share of positive samples at or above each threshold; 1 above every score."""
    both = true + false
    return np.asarray(np.divide(true, both, out=np.ones_like(both), where=both > 0))


def precision_recall_area(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Area under precision over recall by the trapezoid rule: (rows, points) → (rows,)."""
    # Summed from recall 1 down, as scikit-learn does, so that rounding is the same.
    recall = (true / true[:, -1:])[:, ::-1]
    return -area(recall, precision(true, false)[:, ::-1])


def average_precision(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Average precision, Σ (Rₜ − Rₜ₋₁) Pₜ without interpolation: (rows, points) → (rows,)."""
    steps = np.diff((true / true[:, -1:])[:, ::-1], axis=1)
    return np.asarray(-(steps * precision(true, false)[:, :0:-1]).sum(axis=1))
