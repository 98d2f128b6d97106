"""Open-set classification rate (Dhamija, Günther & Boult, 2018, section 3.3).

At threshold θ, over known images with origin y and over unknown images::

    CCR(θ) = share of known images whose most probable origin is y and whose score is ≥ θ
    FPR(θ) = share of unknown images whose score is ≥ θ

OSCR is the area under CCR over FPR. By the trapezoid rule it equals, over all pairs, the
probability that a known image is classified correctly *and* outscores an unknown one, with ties
counting half; so it is at most the closed-set accuracy and at most the AUROC.
"""

from __future__ import annotations

import numpy as np

from whichgen.evaluation.score_ranking import ScoreRanking, area, once_each


def oscr_curve(
    known_scores: np.ndarray, correct: np.ndarray, unknown_scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the curve from (0, 0) on: one point for each distinct score, as θ falls.

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
    ranking = ScoreRanking(known_scores, unknown_scores)
    ccr = ranking.positive(correct[None])[0] / len(known_scores)
    return ranking.negative(once_each(unknown_scores))[0] / len(unknown_scores), ccr


def oscr(known_scores: np.ndarray, correct: np.ndarray, unknown_scores: np.ndarray) -> float:
    """Compute the area under :func:`oscr_curve`, in [0, 1], in O(n log n)."""
    fpr, ccr = oscr_curve(known_scores, correct, unknown_scores)
    return float(area(fpr[None], ccr[None])[0])
