"""Closed-set metrics: how often a known image gets its own origin, with nothing rejected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whichgen.evaluation.score_ranking import once_each


@dataclass(frozen=True)
class ClosedSetMetrics:
    """Metrics of the most probable origin of known images.

    Parameters
    ----------
    accuracy, macro_f1, macro_recall
        In [0, 1].
    recall
        One value in [0, 1] per origin, NaN for an origin without images.
    confusion
        Counts, with true origins in rows and predicted origins in columns.
    """

    accuracy: float
    macro_f1: float
    macro_recall: float
    recall: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]


def closed_set_metrics(probabilities: np.ndarray, labels: np.ndarray) -> ClosedSetMetrics:
    """Compute metrics of probabilities (n, origins) against labels (n,)."""
    predicted, n_origins = probabilities.argmax(axis=1), probabilities.shape[1]
    pairs = np.bincount(labels * n_origins + predicted, minlength=n_origins**2)
    confusion = pairs.reshape(n_origins, n_origins)
    with np.errstate(invalid="ignore"):
        recall = confusion.diagonal() / confusion.sum(axis=1)
    averages = closed_set_averages(predicted, labels, n_origins, once_each(labels))
    return ClosedSetMetrics(
        **{name: float(value[0]) for name, value in averages.items()},
        recall=tuple(recall.tolist()),
        confusion=tuple(map(tuple, confusion.tolist())),
    )


def closed_set_averages(
    predicted: np.ndarray, labels: np.ndarray, n_origins: int, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute ``accuracy``, ``macro_f1`` and ``macro_recall`` for each row of weights.

    An origin that no image has and none is predicted as does not count.

    Parameters
    ----------
    predicted, labels
        Indices of origins: int arrays (n,).
    weights
        How often each image counts: float64 array (rows, n) of whole numbers.

    Returns
    -------
    dict
        float64 arrays (rows,), NaN in a row without images.
    """
    true = weights @ _one_hot(labels, n_origins)
    true_or_predicted = true + weights @ _one_hot(predicted, n_origins)
    correct = weights @ _one_hot(np.where(predicted == labels, labels, -1), n_origins)
    # F1 is 2 TP / (true + predicted). A count of 0 is divided by 1.
    f1 = 2 * correct / np.maximum(true_or_predicted, 1)
    recall = correct / np.maximum(true, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "accuracy": correct.sum(axis=1) / weights.sum(axis=1),
            "macro_f1": f1.sum(axis=1) / (true_or_predicted > 0).sum(axis=1),
            "macro_recall": recall.sum(axis=1) / (true > 0).sum(axis=1),
        }


def _one_hot(labels: np.ndarray, n_origins: int) -> np.ndarray:
    return np.asarray(labels[:, None] == np.arange(n_origins), dtype=np.float64)
