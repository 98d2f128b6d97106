"""Metrics for detecting images of unknown origins by their open-set scores.

Known images are the positive class and should have higher scores than unknown images. Definitions
follow Liang et al. (ODIN, 2018), section 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whichgen.evaluation.threshold_counts import (
    ThresholdCounts,
    compute_precision_recall_area,
    compute_roc_area,
    make_unit_weights,
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
        Maximum over thresholds of ½ (TPR + TNR), where TPR is the fraction of known images accepted
        and TNR is the fraction of unknown images rejected.
    auin, auout
        Area under the precision-recall curve (trapezoid rule), with known images (``auin``) or
        unknown images (``auout``) as the positive class.
    """

    auroc: float
    tnr_at_tpr95: float
    detection_accuracy: float
    auin: float
    auout: float


def compute_detection_metrics(
    known_scores: np.ndarray, unknown_scores: np.ndarray
) -> DetectionMetrics:
    """Compute the detection metrics from open-set scores.

    Parameters
    ----------
    known_scores, unknown_scores
        Scores of known and of unknown images: float arrays (n,) and (m,), n and m at least 1.
    """
    values = compute_detection_metrics_from_counts(*_count_images(known_scores, unknown_scores))
    return DetectionMetrics(**{name: float(value[0]) for name, value in values.items()})


def compute_detection_metrics_from_counts(
    known: np.ndarray, unknown: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute the metrics of :class:`DetectionMetrics` from cumulative counts.

    Parameters
    ----------
    known, unknown
        Number of known and of unknown images with a score at or above each threshold, in descending
        order of thresholds: float64 arrays (rows, thresholds + 1) from
        :class:`~whichgen.evaluation.threshold_counts.ThresholdCounts`, with one row per bootstrap
        resample.

    Returns
    -------
    dict
        Maps the name of each metric to a float64 array (rows,). The metrics of a row without known
        images or without unknown images are NaN or meaningless.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr, fpr = known / known[:, -1:], unknown / unknown[:, -1:]
        # Counts are integers, so these products are exact, unlike a product with 0.95.
        index_95 = (20 * known >= 19 * known[:, -1:]).argmax(axis=1)
        # For AUOUT, unknown images are the positive class, in ascending order of scores.
        true_rejections, false_rejections = (
            (counts[:, -1:] - counts)[:, ::-1] for counts in (unknown, known)
        )
        return {
            "auroc": compute_roc_area(known, unknown),
            "tnr_at_tpr95": 1 - np.take_along_axis(fpr, index_95[:, None], axis=1)[:, 0],
            "detection_accuracy": (tpr + 1 - fpr).max(axis=1) / 2,
            "auin": compute_precision_recall_area(known, unknown),
            "auout": compute_precision_recall_area(true_rejections, false_rejections),
        }


def compute_auroc(known_scores: np.ndarray, unknown_scores: np.ndarray) -> float:
    """Compute the area under the ROC curve, in [0, 1], from open-set scores.

    Parameters
    ----------
    known_scores, unknown_scores
        Scores of known and of unknown images: float arrays (n,) and (m,), n and m at least 1.
    """
    return float(compute_roc_area(*_count_images(known_scores, unknown_scores))[0])


def compute_roc_curve(
    known_scores: np.ndarray, unknown_scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the ROC curve from open-set scores.

    Parameters
    ----------
    known_scores, unknown_scores
        Scores of known and of unknown images: float arrays (n,) and (m,), n and m at least 1.

    Returns
    -------
    fpr, tpr
        Fraction of unknown images and fraction of known images with a score at or above each
        threshold, in descending order of thresholds: float64 arrays (distinct scores + 1,). The
        first point is (0, 0).
    """
    (tp,), (fp,) = _count_images(known_scores, unknown_scores)
    return fp / len(unknown_scores), tp / len(known_scores)


def _count_images(
    known_scores: np.ndarray, unknown_scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Count the known and the unknown images with a score at or above each threshold.

    Return two float64 arrays (1, thresholds + 1). The parameters are those of
    :func:`compute_auroc`.
    """
    thresholds = ThresholdCounts(known_scores, unknown_scores)
    return (
        thresholds.sum_positive(make_unit_weights(known_scores)),
        thresholds.sum_negative(make_unit_weights(unknown_scores)),
    )
