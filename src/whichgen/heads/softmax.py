"""Softmax and log-sum-exp in NumPy.

The functions of ``scipy.special`` give the same results up to rounding, but their import takes a
quarter of a second.
"""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    """Compute the softmax of ``logits`` along an axis: float array of the same shape."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def log_softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    """Compute the logarithm of the softmax along an axis: float array of the same shape.

    For finite logits, the result is finite even where the softmax rounds to 0.
    """
    shifted = logits - logits.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def logsumexp(values: np.ndarray, axis: int) -> np.ndarray:
    """Compute log Σ exp(values) along an axis: float array without this axis.

    The values may be −∞. If all values are −∞, the result is −∞.
    """
    largest = values.max(axis=axis, keepdims=True)
    powers = np.exp(values - np.where(np.isfinite(largest), largest, 0))
    # Omit the largest value, so that log1p is exact for a small sum of the other values.
    np.put_along_axis(powers, values.argmax(axis=axis, keepdims=True), 0, axis=axis)
    return np.asarray(np.log1p(powers.sum(axis=axis)) + largest.squeeze(axis))
