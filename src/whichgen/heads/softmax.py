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
    powers = np.exp(values - np.where(np.isfinite(largest), largest, 0))
    # Without the largest value, so that log1p does not round a much smaller sum of the others.
    np.put_along_axis(powers, values.argmax(axis=axis, keepdims=True), 0, axis=axis)
    return np.asarray(np.log1p(powers.sum(axis=axis)) + largest.squeeze(axis))
