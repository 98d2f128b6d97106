"""Scores of the class probabilities p = softmax(logits).

Maximum probability (Hendrycks & Gimpel, 2017, the method's own), negative entropy, and the margin
between the two most probable origins::

    max_j p_j(x)        Σ_j p_j(x) log p_j(x)        p_(1)(x) − p_(2)(x)
"""

from __future__ import annotations

import numpy as np
from scipy.special import entr, softmax


def max_probability(logits: np.ndarray) -> np.ndarray:
    """The largest probability: (n, origins) → float64 array (n,) in [1/origins, 1]."""
    return np.asarray(_probabilities(logits).max(axis=1))


def negative_entropy(logits: np.ndarray) -> np.ndarray:
    """Minus the entropy in nats: (n, origins) → float64 array (n,) in [-log(origins), 0]."""
    return np.asarray(-entr(_probabilities(logits)).sum(axis=1))


def margin(logits: np.ndarray) -> np.ndarray:
    """The largest probability minus the next: (n, origins) → float64 array (n,) in [0, 1].

    Of a single origin the next is 0.
    """
    ranked = np.sort(_probabilities(logits), axis=1)
    second = ranked[:, -2] if ranked.shape[1] > 1 else 0.0
    return np.asarray(ranked[:, -1] - second)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    return np.asarray(softmax(np.asarray(logits, dtype=np.float64), axis=1))
