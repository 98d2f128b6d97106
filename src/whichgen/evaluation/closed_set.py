"""Closed-set metrics: accuracy, F1 and recall for known images, without rejection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whichgen.evaluation.threshold_counts import make_unit_weights


@dataclass(frozen=True)
class ClosedSetMetrics:
    """Closed-set metrics of known images, each classified as its most probable origin.

    Parameters
    ----------
    accuracy
        Fraction of images that are classified correctly, in [0, 1].
    macro_f1
        Unweighted mean of the F1 score over the origins that are the true or the predicted origin
        of at least one image, in [0, 1].
    macro_recall
        Unweighted mean of the recall over the origins with images, in [0, 1].
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


def compute_closed_set_metrics(probabilities: np.ndarray, labels: np.ndarray) -> ClosedSetMetrics:
    """Compute the closed-set metrics of n known images.

    Parameters
    ----------
    probabilities
        Probabilities in [0, 1]: float array (n, origins), n at least 1.
    labels
        Indices of true origins: int array (n,).
    """
    predicted, n_origins = probabilities.argmax(axis=1), probabilities.shape[1]
    pairs = np.bincount(labels * n_origins + predicted, minlength=n_origins**2)
    confusion = pairs.reshape(n_origins, n_origins)
    with np.errstate(invalid="ignore"):
        recall = confusion.diagonal() / confusion.sum(axis=1)
    averages = compute_closed_set_averages(predicted, labels, n_origins, make_unit_weights(labels))
    return ClosedSetMetrics(
        **{name: float(value[0]) for name, value in averages.items()},
        recall=tuple(recall.tolist()),
        confusion=tuple(map(tuple, confusion.tolist())),
    )


def compute_closed_set_averages(
    predicted: np.ndarray, labels: np.ndarray, n_origins: int, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute ``accuracy``, ``macro_f1`` and ``macro_recall`` for each row of weights.

    The metrics are those of :class:`ClosedSetMetrics`. Images with weight 0 are ignored.

    Parameters
    ----------
    predicted, labels
        Indices of predicted and of true origins: int arrays (n,).
    n_origins
        Number of known origins.
    weights
        Number of times each image counts: integers as float64 array (rows, n).

    Returns
    -------
    dict
        Maps the name of each metric to a float64 array (rows,) in [0, 1], with NaN for rows in
        which all weights are 0.
    """
    true = weights @ _encode_one_hot(labels, n_origins)
    true_or_predicted = true + weights @ _encode_one_hot(predicted, n_origins)
    # -1 is not an origin, so images that are not correct have a row of zeros.
    correct = weights @ _encode_one_hot(np.where(predicted == labels, labels, -1), n_origins)
    # F1 is 2 TP / (true + predicted). With denominators of at least 1, 0 / 0 becomes 0.
    f1 = 2 * correct / np.maximum(true_or_predicted, 1)
    recall = correct / np.maximum(true, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "accuracy": correct.sum(axis=1) / weights.sum(axis=1),
            "macro_f1": f1.sum(axis=1) / (true_or_predicted > 0).sum(axis=1),
            "macro_recall": recall.sum(axis=1) / (true > 0).sum(axis=1),
        }


def _encode_one_hot(labels: np.ndarray, n_origins: int) -> np.ndarray:
    return np.asarray(labels[:, None] == np.arange(n_origins), dtype=np.float64)
