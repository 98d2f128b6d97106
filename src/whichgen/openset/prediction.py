"""What a fitted head and a fitted score say of features: probabilities, and how known they look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from whichgen.heads.base import Head, HeadMethod
from whichgen.openset.base import OpenSetScore
from whichgen.openset.registry import MAX_PROBABILITY, score_method


def predict(
    head: Head,
    features: np.ndarray,
    score: OpenSetScore = MAX_PROBABILITY,
    temperature: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and scores of images.

    Parameters
    ----------
    features
        What the head reads: float array (n, d).
    temperature
        Logits are divided by it before the softmax. The score is of the logits themselves.

    Returns
    -------
    probabilities, scores
        float64 arrays (n, origins) and (n,).
    """
    logits = head.logits(features)
    probabilities = np.asarray(softmax(logits / temperature, axis=1))
    return probabilities, score(head.embed(features), logits)


def fit_and_predict(
    family: HeadMethod,
    x: np.ndarray,
    labels: np.ndarray,
    chosen: tuple[float, str],
    asked: Sequence[np.ndarray],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Fits a head and its score, ``chosen`` by value and name, and gives :func:`predict` of each.

    It stands here, and not beside who calls it, because worker processes import what they run:
    torch, which no head needs, would take them seconds and hundreds of MiB.
    """
    value, score_name = chosen
    n_origins = int(labels.max()) + 1
    head = family.fit(x, labels, n_origins, value)
    score = score_method(score_name).fit(head.embed(x), head.logits(x), labels, n_origins)
    return [predict(head, query, score) for query in asked]
