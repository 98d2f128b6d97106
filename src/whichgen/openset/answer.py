"""What a fitted head and a fitted score say of features: probabilities, and how known they look."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from whichgen.heads.base import Head
from whichgen.openset.base import OpenSetScore
from whichgen.openset.catalogue import MAX_PROBABILITY


def answer(
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
