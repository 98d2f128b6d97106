"""Softmax and log-sum-exp in NumPy.

Those of ``scipy.special`` have the same results, but take a quarter of a second to import, most of
the time of other imports of ``whichgen attribute``.
"""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    """Return exp(z) / Σ exp(z), where the sum runs along an axis: float array like ``logits``."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def log_softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    """Return the logarithm of :func:`softmax`, also where that would be rounded to zero."""
    shifted = logits - logits.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def logsumexp(values: np.ndarray, axis: int) -> np.ndarray:
    """Return log Σ exp(values), where the sum runs along an axis, which is removed.

    Values may be −∞; the result is −∞ where all values are.
    """
    largest = values.max(axis=axis, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0)
    with np.errstate(divide="ignore"):
        sums = np.log(np.exp(values - largest).sum(axis=axis))
    return np.asarray(sums + largest.squeeze(axis))
