"""Probabilities and open-set scores from the output of a head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from whichgen.heads.base import HeadMethod, HeadOutput
from whichgen.openset.base import OpenSetScore
from whichgen.openset.registry import MAX_PROBABILITY, fit_score


def predict(
    output: HeadOutput, score: OpenSetScore = MAX_PROBABILITY, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Compute probabilities and open-set scores.

    Parameters
    ----------
    temperature
        Divides the logits before the softmax; the score uses the original logits.

    Returns
    -------
    probabilities, scores
        float64 arrays (n, origins) and (n,).
    """
    return np.asarray(softmax(output.logits / temperature, axis=1)), score(output)


def fit_and_predict(
    method: HeadMethod,
    features: np.ndarray,
    labels: np.ndarray,
    choice: tuple[float, str],
    queries: Sequence[np.ndarray],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Fit a head and its score, and return :func:`predict` for each query.

    ``choice`` is the value of the hyperparameter and the name of the score.

    Defined here because worker processes import the module of the function they run: this one does
    not import torch, which takes seconds and hundreds of MiB.
    """
    value, score_name = choice
    n_origins = int(labels.max()) + 1
    head = method.fit(features, labels, n_origins, value)
    score = fit_score(score_name, head.forward(features), labels, n_origins)
    return [predict(head.forward(query), score) for query in queries]
