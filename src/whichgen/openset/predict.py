"""Compute the probabilities and open-set scores of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whichgen.heads.head import HeadMethod, HeadOutput
from whichgen.heads.softmax import softmax
from whichgen.openset.score import OpenSetScore
from whichgen.openset.score_registry import MAX_PROBABILITY, fit_score


def predict(
    output: HeadOutput, score: OpenSetScore = MAX_PROBABILITY, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the probabilities and the open-set score of each image.

    Parameters
    ----------
    output
        Output of a head for n images.
    score
        The fitted open-set score.
    temperature
        Divisor of the logits before the softmax, > 0; the score uses the original logits.

    Returns
    -------
    probabilities, scores
        Probabilities in [0, 1], float64 array (n, origins), and open-set scores, float64 array
        (n,).
    """
    return np.asarray(softmax(output.logits / temperature, axis=1)), score(output)


def fit_and_predict(
    method: HeadMethod,
    features: np.ndarray,
    labels: np.ndarray,
    settings: tuple[float, str],
    queries: Sequence[np.ndarray],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Fit a head and an open-set score, and call :func:`predict` for each query set.

    Worker processes run this function and therefore import its module. This module must not import
    torch, which would delay the start of every worker and increase its memory use.

    Parameters
    ----------
    method
        Method that fits the head.
    features, labels
        Training features, float array (n, d), and origin indices, integer array (n,). The number of
        origins is the largest index plus 1.
    settings
        Value of the head's hyperparameter, and name of the open-set score.
    queries
        Features of each query set: float arrays (m, d).

    Returns
    -------
    list of (probabilities, scores), one per query set
        float64 arrays (m, origins) and (m,).

    Raises
    ------
    FitError
        The head or the score can't be fitted (:meth:`whichgen.heads.head.HeadMethod.fit`,
        :func:`whichgen.openset.score_registry.fit_score`).
    AssertionError, FitError, ValueError
        A query set has another number of features; the type depends on the head.
    """
    value, score_name = settings
    n_origins = int(labels.max()) + 1
    head = method.fit(features, labels, n_origins, value)
    score = fit_score(score_name, head.forward(features), labels, n_origins)
    return [predict(head.forward(query), score) for query in queries]
