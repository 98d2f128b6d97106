"""Open-set classification rate (Dhamija, Günther & Boult, 2018, section 3.3).

At threshold θ, over known images with origin y and unknown images::

    CCR(θ) = share of known images whose most probable origin is y and whose score is ≥ θ
    FPR(θ) = share of unknown images whose score is ≥ θ

OSCR is the area under CCR over FPR. By the trapezoid rule it equals, over all pairs, the
probability that a known image is classified right *and* outscores an unknown one, ties counting
half; so it is at most the closed-set accuracy and at most the AUROC.
"""

from __future__ import annotations

import numpy as np


def oscr_curve(
    known_scores: np.ndarray, correct: np.ndarray, unknown_scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The curve from (0, 0) on: one point for each distinct score, as θ falls.

    Parameters
    ----------
    known_scores, correct
        Scores (n,) of known images, and whether their most probable origin is right (bool, (n,)).
    unknown_scores
        Scores (m,) of unknown images.

    Returns
    -------
    fpr, ccr
        float64 arrays (distinct scores + 1,), both non-decreasing.
    """
    thresholds = np.unique(np.concatenate([known_scores, unknown_scores]))[::-1]

    def share_at_least(scores: np.ndarray, total: int) -> np.ndarray:
        at_least = len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")
        return np.concatenate([[0.0], at_least / total])

    ccr = share_at_least(known_scores[np.asarray(correct, dtype=bool)], len(known_scores))
    return share_at_least(unknown_scores, len(unknown_scores)), ccr


def oscr(known_scores: np.ndarray, correct: np.ndarray, unknown_scores: np.ndarray) -> float:
    """The area under :func:`oscr_curve`, in [0, 1]; O(n log n)."""
    fpr, ccr = oscr_curve(known_scores, correct, unknown_scores)
    return float(np.trapezoid(ccr, fpr))
