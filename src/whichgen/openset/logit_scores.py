"""Open-set scores computed from the logits z(x) or their softmax p(x), without fitting."""

from __future__ import annotations

import numpy as np

from whichgen.heads.head import HeadOutput
from whichgen.heads.softmax import logsumexp, softmax
from whichgen.openset.score import OpenSetScore


class MaxProbability(OpenSetScore):
    """Maximum softmax probability (Hendrycks & Gimpel, 2017): max_j p_j(x).

    This is the score of the paper (UniversalAttribution). Range: [1/origins, 1].
    """

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the score of each image in a batch: float64 array (n,)."""
        return np.asarray(_softmax(output.logits).max(axis=1))


class Entropy(OpenSetScore):
    """Negative entropy of the probabilities (Shannon, 1948), in nats: Σ_j p_j(x) log p_j(x).

    Range: [-log(origins), 0].
    """

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the score of each image in a batch: float64 array (n,)."""
        from scipy.special import entr

        return np.asarray(-entr(_softmax(output.logits)).sum(axis=1))


class Margin(OpenSetScore):
    """Margin between the two most probable origins (Scheffer et al., 2001): p_(1)(x) − p_(2)(x).

    p_(1) and p_(2) are the two largest probabilities; with a single origin, p_(2) is 0. Range:
    [0, 1].
    """

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the score of each image in a batch: float64 array (n,)."""
        ascending = np.sort(_softmax(output.logits), axis=1)
        second = ascending[:, -2] if ascending.shape[1] > 1 else 0.0
        return np.asarray(ascending[:, -1] - second)


class MaxLogit(OpenSetScore):
    """Maximum logit (Hendrycks et al., 2022): max_j z_j(x).

    Unlike the maximum probability, it distinguishes images whose maximum probability rounds to 1.
    """

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the score of each image in a batch: float64 array (n,)."""
        return np.asarray(np.max(output.logits, axis=1), dtype=np.float64)


class Energy(OpenSetScore):
    """Negative free energy at temperature 1 (Liu et al., 2020): log Σ_j exp(z_j(x)).

    Range: [max_j z_j(x), max_j z_j(x) + log(origins)].
    """

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the score of each image in a batch: float64 array (n,)."""
        return np.asarray(logsumexp(np.asarray(output.logits, dtype=np.float64), axis=1))


def _softmax(logits: np.ndarray) -> np.ndarray:
    return np.asarray(softmax(np.asarray(logits, dtype=np.float64), axis=1))
