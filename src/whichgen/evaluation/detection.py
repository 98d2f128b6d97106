"""Known against unknown: threshold-free and fixed-rate detection metrics.

Known is the positive class; a score is the higher the more known an image looks. Definitions are
those of Liang et al. (ODIN, 2018), section 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import auc, precision_recall_curve, roc_auc_score, roc_curve


@dataclass(frozen=True)
class DetectionMetrics:
    """All in [0, 1].

    Parameters
    ----------
    auroc
        Probability that a known image outscores an unknown one (ties count half).
    tnr_at_tpr95
        Share of unknown images rejected at the highest threshold that keeps 95 % of known ones.
    detection_accuracy
        max over thresholds of ½ (TPR + TNR).
    auin, auout
        Area under precision and recall (trapezoid) with known, and with unknown, as positive.
    """

    auroc: float
    tnr_at_tpr95: float
    detection_accuracy: float
    auin: float
    auout: float


def detection_metrics(known: np.ndarray, unknown: np.ndarray) -> DetectionMetrics:
    """Metrics of the scores of known images (n,) and unknown images (m,), n and m at least 1."""
    truth, scores = _stacked(known, unknown)
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    return DetectionMetrics(
        auroc=auroc(known, unknown),
        tnr_at_tpr95=float(1 - fpr[np.argmax(tpr >= 0.95 - 1e-12)]),
        detection_accuracy=float(np.max(tpr + 1 - fpr) / 2),
        auin=_aupr(truth, scores),
        auout=_aupr(1 - truth, -scores),
    )


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Area under the ROC curve of known (positive) against unknown scores."""
    return float(roc_auc_score(*_stacked(known, unknown)))


def roc(known: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve: false-positive rates (unknown accepted) and true-positive rates (known kept)."""
    fpr, tpr, _ = roc_curve(*_stacked(known, unknown))
    return fpr, tpr


def _stacked(known: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth = np.concatenate([np.ones(len(known), np.int64), np.zeros(len(unknown), np.int64)])
    return truth, np.concatenate([known, unknown])


def _aupr(truth: np.ndarray, scores: np.ndarray) -> float:
    precision, recall, _ = precision_recall_curve(truth, scores)
    return float(auc(recall, precision))
