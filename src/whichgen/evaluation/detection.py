"""Known against unknown images: threshold-free and fixed-rate detection metrics.

Known is the positive class, and a higher score means that an image looks more known. Definitions
follow Liang et al. (ODIN, 2018), section 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whichgen.evaluation.score_ranking import (
    ScoreRanking,
    once_each,
    precision_recall_area,
    roc_area,
)


@dataclass(frozen=True)
class DetectionMetrics:
    """Detection metrics, all in [0, 1].

    Parameters
    ----------
    auroc
        Probability that a known image outscores an unknown one (ties count half).
    tnr_at_tpr95
        Share of unknown images rejected at the highest threshold that keeps 95 % of known ones.
    detection_accuracy
        Maximum over thresholds of ½ (TPR + TNR).
    auin, auout
        Area under precision over recall (trapezoid rule) with known, and with unknown, as positive.
    """

    auroc: float
    tnr_at_tpr95: float
    detection_accuracy: float
    auin: float
    auout: float


def detection_metrics(known: np.ndarray, unknown: np.ndarray) -> DetectionMetrics:
    """Compute all metrics of known scores (n,) and unknown scores (m,), n and m at least 1."""
    values = detection_curve_metrics(*_count(known, unknown))
    return DetectionMetrics(**{name: float(value[0]) for name, value in values.items()})


def detection_curve_metrics(known: np.ndarray, unknown: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the metrics of :class:`DetectionMetrics` from cumulative counts.

    Parameters
    ----------
    known, unknown
        Counts at or above each threshold: float64 arrays (rows, points); see
        :class:`~whichgen.evaluation.score_ranking.ScoreRanking`.

    Returns
    -------
    dict
        float64 arrays (rows,).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr, fpr = known / known[:, -1:], unknown / unknown[:, -1:]
        # Whole numbers on either side, so that rounding does not decide.
        at_95 = (20 * known >= 19 * known[:, -1:]).argmax(axis=1)
        # From the lowest score up, unknown images are the positives.
        rejected, lost = ((counts[:, -1:] - counts)[:, ::-1] for counts in (unknown, known))
        return {
            "auroc": roc_area(known, unknown),
            "tnr_at_tpr95": 1 - np.take_along_axis(fpr, at_95[:, None], axis=1)[:, 0],
            "detection_accuracy": (tpr + 1 - fpr).max(axis=1) / 2,
            "auin": precision_recall_area(known, unknown),
            "auout": precision_recall_area(rejected, lost),
        }


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Compute the area under the ROC curve of known (positive) against unknown scores."""
    return float(roc_area(*_count(known, unknown))[0])


def roc_curve(known: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute false-positive rates (unknown accepted) and true-positive rates (known accepted)."""
    (tp,), (fp,) = _count(known, unknown)
    return fp / len(unknown), tp / len(known)


def _count(known: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the scores at or above each threshold: two float64 arrays (1, thresholds + 1)."""
    ranking = ScoreRanking(known, unknown)
    return ranking.positive(once_each(known)), ranking.negative(once_each(unknown))
