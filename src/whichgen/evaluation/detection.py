"""Metrics of the detection of unknown images by their open-set scores.

Known images are the positive class and should have higher scores than unknown images. Definitions
follow Liang et al. (ODIN, 2018), section 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whichgen.evaluation.score_ranking import (
    ScoreRanking,
    precision_recall_area,
    roc_area,
    unit_weights,
)


@dataclass(frozen=True)
class DetectionMetrics:
    """Detection metrics, all in [0, 1].

    Parameters
    ----------
    auroc
        Probability that a known image has a higher score than an unknown image; ties count half.
    tnr_at_tpr95
        Fraction of unknown images rejected at the highest threshold that accepts at least 95 % of
        known images.
    detection_accuracy
        Maximum over thresholds of ½ (TPR + TNR).
    auin, auout
        Area under the precision-recall curve (trapezoid rule), with known images (``auin``) or
        unknown images (``auout``) as the positive class.
    """

    auroc: float
    tnr_at_tpr95: float
    detection_accuracy: float
    auin: float
    auout: float


def detection_metrics(known: np.ndarray, unknown: np.ndarray) -> DetectionMetrics:
    """Compute all metrics from scores of known (n,) and unknown (m,) images, n and m ≥ 1."""
    values = detection_curve_metrics(*_count(known, unknown))
    return DetectionMetrics(**{name: float(value[0]) for name, value in values.items()})


def detection_curve_metrics(known: np.ndarray, unknown: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the metrics of :class:`DetectionMetrics` from cumulative counts.

    Parameters
    ----------
    known, unknown
        Number of images with a score at or above each threshold: float64 arrays (rows, points)
        from :class:`~whichgen.evaluation.score_ranking.ScoreRanking`.

    Returns
    -------
    dict
        float64 array (rows,) for each metric.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr, fpr = known / known[:, -1:], unknown / unknown[:, -1:]
        # Integer comparison, to avoid rounding errors.
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
    """Compute the area under the ROC curve from scores of known (n,) and unknown (m,) images."""
    return float(roc_area(*_count(known, unknown))[0])


def roc_curve(known: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the ROC curve from scores of known (n,) and unknown (m,) images.

    Returns
    -------
    fpr, tpr
        Fraction of unknown and of known images at or above each threshold, as the threshold
        decreases: float64 arrays (distinct scores + 1,).
    """
    (tp,), (fp,) = _count(known, unknown)
    return fp / len(unknown), tp / len(known)


def _count(known: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the scores at or above each threshold: two float64 arrays (1, thresholds + 1)."""
    ranking = ScoreRanking(known, unknown)
    return ranking.positive(unit_weights(known)), ranking.negative(unit_weights(unknown))
