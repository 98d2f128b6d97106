"""Cumulative counts over score thresholds, and the areas under curves computed from them.

A bootstrap resample is represented by weights: the number of times each sample is drawn. For
positive samples i with weights wᵢ, negative samples j with weights vⱼ, and scores s, the counts of
true and false positives at threshold θ are::

    TP(θ) = Σ wᵢ over positive samples with sᵢ ≥ θ
    FP(θ) = Σ vⱼ over negative samples with sⱼ ≥ θ

The scores are sorted once; the counts are cumulative sums of weights in descending order of score.

Weights of one (:func:`make_unit_weights`) give the metrics of the original samples. Arrays of
counts have the shape (rows, thresholds + 1), with one row per resample. The thresholds are the
distinct scores. The first column is zero, for a threshold above every score; the other columns
contain the counts at the thresholds in descending order.
"""

from __future__ import annotations

from collections.abc import Sized

import numpy as np


def make_unit_weights(samples: Sized) -> np.ndarray:
    """Return a weight of one for each sample: float64 array (1, n)."""
    return np.ones((1, len(samples)))


class ThresholdCounts:
    """Samples sorted by score, with cumulative counts at each distinct score.

    Parameters
    ----------
    positive, negative
        Scores of the positive and the negative samples: float arrays (n,) and (m,).
    """

    def __init__(self, positive: np.ndarray, negative: np.ndarray) -> None:
        scores = np.concatenate([positive, negative])
        order = np.argsort(-scores)
        descending = scores[order]
        # Positions of the last sample at each threshold.
        last_positions = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))
        is_positive = order < len(positive)
        counts = np.cumsum(is_positive)[last_positions]
        self._positive = order[is_positive], np.append(0, counts)
        self._negative = (
            order[~is_positive] - len(positive),
            np.append(0, last_positions + 1 - counts),
        )

    def sum_positive(self, weights: np.ndarray) -> np.ndarray:
        """Sum the weights of the positive samples whose score is at or above each threshold.

        Parameters
        ----------
        weights
            Number of times each positive sample counts: integers as float64 array (rows, n).

        Returns
        -------
        float64 array (rows, thresholds + 1)
            The sums, after a first column of zeros.
        """
        return _accumulate(weights, *self._positive)

    def sum_negative(self, weights: np.ndarray) -> np.ndarray:
        """Sum the weights of the negative samples whose score is at or above each threshold.

        Parameters
        ----------
        weights
            Number of times each negative sample counts: integers as float64 array (rows, m).

        Returns
        -------
        float64 array (rows, thresholds + 1)
            The sums, after a first column of zeros.
        """
        return _accumulate(weights, *self._negative)


def _accumulate(weights: np.ndarray, order: np.ndarray, counts: np.ndarray) -> np.ndarray:
    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights[:, order], axis=1, out=sums[:, 1:])
    return np.asarray(sums[:, counts])


def compute_area(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute the area under the curve in each row by the trapezoid rule: float64 array (rows,).

    ``x`` and ``y`` are float64 arrays (rows, points). Where ``x`` decreases, the area counts as
    negative.
    """
    return np.asarray((np.diff(x, axis=1) * (y[:, 1:] + y[:, :-1])).sum(axis=1) / 2)


def compute_roc_area(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Compute the area under the ROC curve in each row.

    Parameters
    ----------
    positive, negative
        Cumulative counts of positive and negative samples: float64 arrays (rows, thresholds + 1).

    Returns
    -------
    float64 array (rows,)
        The area, in [0, 1]; NaN in rows without positive or without negative samples.
    """
    if len(positive) == 1:
        # Drop collinear points as scikit-learn does, so that equal curves round to equal areas.
        points = np.ones(positive.shape[1], dtype=bool)
        points[2:-1] = np.diff([positive[0, 1:], negative[0, 1:]], 2).any(axis=0)
        positive, negative = positive[:, points], negative[:, points]
    return compute_area(negative / negative[:, -1:], positive / positive[:, -1:])


def compute_precision(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Compute the precision at each threshold: float64 array (rows, thresholds + 1).

    The precision is 1 where both counts are 0, as for a threshold above every score.

    Parameters
    ----------
    true, false
        Cumulative counts of true and false positives: float64 arrays (rows, thresholds + 1).
    """
    total = true + false
    return np.asarray(np.divide(true, total, out=np.ones_like(total), where=total > 0))


def compute_precision_recall_area(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Compute the area under the precision-recall curve in each row by the trapezoid rule.

    Parameters
    ----------
    true, false
        Cumulative counts of true and false positives: float64 arrays (rows, thresholds + 1).

    Returns
    -------
    float64 array (rows,)
        The area, in [0, 1]; NaN in rows without positive samples.
    """
    # Sum in descending order of recall, as scikit-learn does, so that rounding errors are equal.
    recall = (true / true[:, -1:])[:, ::-1]
    return -compute_area(recall, compute_precision(true, false)[:, ::-1])


def compute_average_precision(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Compute the average precision Σₜ (Rₜ − Rₜ₋₁) Pₜ in each row.

    Rₜ and Pₜ are the recall and the precision at the t-th highest threshold, and R₀ = 0. The
    parameters and the return value are those of :func:`compute_precision_recall_area`.
    """
    steps = np.diff((true / true[:, -1:])[:, ::-1], axis=1)
    return np.asarray(-(steps * compute_precision(true, false)[:, :0:-1]).sum(axis=1))
