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

from whichgen.evaluation.threshold_counts import ThresholdCounts, compute_area, make_unit_weights


def compute_oscr_curve(
    known_scores: np.ndarray, correct: np.ndarray, unknown_scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the OSCR curve: the point (0, 0), then one point for each distinct score.

    The points are in descending order of score.

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
    fpr, ccr = _compute_curves(*_count_correct_and_all(known_scores, correct, unknown_scores))
    return fpr[0], ccr[0]


def compute_oscr(
    known_scores: np.ndarray, correct: np.ndarray, unknown_scores: np.ndarray
) -> float:
    """Compute OSCR, the area under :func:`compute_oscr_curve`, which has the same parameters.

    The result is in [0, 1]. The running time is O(N log N) for N images in total.
    """
    counts = _count_correct_and_all(known_scores, correct, unknown_scores)
    return float(compute_oscr_from_counts(*counts)[0])


def compute_oscr_from_counts(
    correct: np.ndarray, known: np.ndarray, unknown: np.ndarray
) -> np.ndarray:
    """Compute OSCR from cumulative counts, for example for each bootstrap resample.

    Parameters
    ----------
    correct, known, unknown
        Number of correctly classified known images, of known images and of unknown images with a
        score at or above each threshold: float64 arrays (rows, thresholds + 1) from
        :class:`~whichgen.evaluation.threshold_counts.ThresholdCounts`.

    Returns
    -------
    float64 array (rows,)
        OSCR in [0, 1]; NaN in rows without known or without unknown images.
    """
    return compute_area(*_compute_curves(correct, known, unknown))


def _compute_curves(
    correct: np.ndarray, known: np.ndarray, unknown: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return FPR and CCR of each row of counts: float64 arrays (rows, thresholds + 1)."""
    return unknown / unknown[:, -1:], correct / known[:, -1:]


def _count_correct_and_all(
    known_scores: np.ndarray, correct: np.ndarray, unknown_scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the counts that :func:`compute_oscr_from_counts` expects; every image counts once."""
    counts = ThresholdCounts(known_scores, unknown_scores)
    weights = make_unit_weights(known_scores)
    unknown = counts.sum_negative(make_unit_weights(unknown_scores))
    return counts.sum_positive(weights * correct), counts.sum_positive(weights), unknown
