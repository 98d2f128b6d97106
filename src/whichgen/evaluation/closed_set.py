"""Closed-set metrics: accuracy, F1 and recall for known images, without rejection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whichgen.evaluation.score_ranking import unit_weights


@dataclass(frozen=True)
class ClosedSetMetrics:
    """Metrics of the top-1 origin of known images.

    Parameters
    ----------
    accuracy, macro_f1, macro_recall
        In [0, 1]; macro averages weight origins equally.
    recall
        Recall of each origin, in [0, 1]; NaN for an origin without images.
    confusion
        ``confusion[i][j]`` is the number of images of origin i that are classified as origin j.
    """

    accuracy: float
    macro_f1: float
    macro_recall: float
    recall: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]


def closed_set_metrics(probabilities: np.ndarray, labels: np.ndarray) -> ClosedSetMetrics:
    """Compute the metrics from probabilities (n, origins) and true label indices (n,)."""
    predicted, n_origins = probabilities.argmax(axis=1), probabilities.shape[1]
    pairs = np.bincount(labels * n_origins + predicted, minlength=n_origins**2)
    confusion = pairs.reshape(n_origins, n_origins)
    with np.errstate(invalid="ignore"):
        recall = confusion.diagonal() / confusion.sum(axis=1)
    averages = closed_set_averages(predicted, labels, n_origins, unit_weights(labels))
    return ClosedSetMetrics(
        **{name: float(value[0]) for name, value in averages.items()},
        recall=tuple(recall.tolist()),
        confusion=tuple(map(tuple, confusion.tolist())),
    )


def closed_set_averages(
    predicted: np.ndarray, labels: np.ndarray, n_origins: int, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute ``accuracy``, ``macro_f1`` and ``macro_recall`` for each row of weights.

    ``macro_f1`` omits origins with neither true nor predicted images, and ``macro_recall`` omits
    origins without true images.

    Parameters
    ----------
    predicted, labels
        Indices of origins: int arrays (n,).
    weights
        Number of times each image counts: integers as float64 array (rows, n).

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
