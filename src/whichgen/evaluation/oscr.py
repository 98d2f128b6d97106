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
    thresholds = ThresholdCounts(known_scores, unknown_scores)
    ccr = thresholds.sum_positive(correct[None])[0] / len(known_scores)
    return thresholds.sum_negative(make_unit_weights(unknown_scores))[0] / len(unknown_scores), ccr


def oscr(known_scores: np.ndarray, correct: np.ndarray, unknown_scores: np.ndarray) -> float:
    """Compute OSCR, the area under :func:`oscr_curve`, which has the same parameters.

    The result is in [0, 1]. The running time is O(n log n) for n images, known and unknown.
    """
    fpr, ccr = oscr_curve(known_scores, correct, unknown_scores)
    return float(area(fpr[None], ccr[None])[0])
