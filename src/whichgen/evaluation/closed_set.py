"""Closed-set metrics: how often a known image gets its own origin, nothing rejected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score


@dataclass(frozen=True)
class ClosedSetMetrics:
    """``accuracy``, ``macro_f1`` and ``macro_recall`` in [0, 1].

    ``recall`` is one value for each origin (NaN for one without images), ``confusion`` counts,
    with true origins in rows and predicted ones in columns.
    """

    accuracy: float
    macro_f1: float
    macro_recall: float
    recall: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]


def closed_set_metrics(probabilities: np.ndarray, labels: np.ndarray) -> ClosedSetMetrics:
    """Metrics of probabilities (n, origins) against labels (n,)."""
    predicted = probabilities.argmax(axis=1)
    origins = np.arange(probabilities.shape[1])
    recall = recall_score(labels, predicted, labels=origins, average=None, zero_division=np.nan)
    return ClosedSetMetrics(
        accuracy=float(accuracy_score(labels, predicted)),
        macro_f1=float(f1_score(labels, predicted, average="macro", zero_division=0.0)),
        macro_recall=float(np.nanmean(recall)),
        recall=tuple(float(r) for r in recall),
        confusion=tuple(
            tuple(int(n) for n in row)
            for row in confusion_matrix(labels, predicted, labels=origins)
        ),
    )
