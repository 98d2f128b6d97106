"""Open-set classification rate, OSCR (Dhamija, Günther & Boult, 2018, section 3.3).

The correct classification rate (CCR) and the false-positive rate (FPR) at threshold θ are::

    CCR(θ) = fraction of known images whose most probable origin is correct and whose score is ≥ θ
    FPR(θ) = fraction of unknown images whose score is ≥ θ

OSCR is the area under the curve of CCR against FPR (trapezoid rule). It equals the probability that
a known image is classified correctly *and* has a higher score than an unknown image, with ties
counting half. OSCR is therefore at most the closed-set accuracy and at most the AUROC.
"""

from __future__ import annotations

import numpy as np

from whichgen.evaluation.threshold_counts import ThresholdCounts, area, make_unit_weights


def oscr_curve(
    known_scores: np.ndarray, correct: np.ndarray, unknown_scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the OSCR curve: (0, 0), then one point for each distinct score in descending order.

    Parameters
    ----------
    known_scores
        Scores of known images: float array (n,), n at least 1.
    correct
        Whether the most probable origin of each known image is correct: bool array (n,).
    unknown_scores
        Scores of unknown images: float array (m,), m at least 1.

    Returns
    -------
    fpr, ccr
        Non-decreasing float64 arrays (distinct scores + 1,) in [0, 1].
    """
    counts = ThresholdCounts(known_scores, unknown_scores)
    ones = make_unit_weights(known_scores), make_unit_weights(unknown_scores)
    fpr, ccr = _weighted_curves(counts, correct, *ones)
    return fpr[0], ccr[0]


def oscr(known_scores: np.ndarray, correct: np.ndarray, unknown_scores: np.ndarray) -> float:
    """Compute OSCR, the area under :func:`oscr_curve`, which has the same parameters.

    The result is in [0, 1]. The running time is O(n log n) for n images, known and unknown.
    """
    counts = ThresholdCounts(known_scores, unknown_scores)
    ones = make_unit_weights(known_scores), make_unit_weights(unknown_scores)
    return float(compute_weighted_oscr(counts, correct, *ones)[0])


def compute_weighted_oscr(
    counts: ThresholdCounts, correct: np.ndarray, weights: np.ndarray, unknown_weights: np.ndarray
) -> np.ndarray:
    """Compute OSCR for each row of image weights, for example for bootstrap samples.

    Parameters
    ----------
    counts
        Counts of the scores of n known and m unknown images.
    correct
        Whether the most probable origin of each known image is correct: bool array (n,).
    weights, unknown_weights
        Number of times each known and each unknown image counts: integers as float64 arrays
        (rows, n) and (rows, m).

    Returns
    -------
    float64 array (rows,)
        OSCR in [0, 1]; NaN in rows without known or without unknown images.
    """
    return area(*_weighted_curves(counts, correct, weights, unknown_weights))


def _weighted_curves(
    counts: ThresholdCounts, correct: np.ndarray, weights: np.ndarray, unknown_weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return FPR and CCR for each row of weights: float64 arrays (rows, distinct scores + 1)."""
    fpr = counts.sum_negative(unknown_weights) / unknown_weights.sum(axis=1, keepdims=True)
    return fpr, counts.sum_positive(weights * correct) / weights.sum(axis=1, keepdims=True)
