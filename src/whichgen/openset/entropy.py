"""Negative entropy of the probabilities (Shannon, 1948), in nats: Σ_j p_j(x) log p_j(x)."""

from __future__ import annotations

import numpy as np
from scipy.special import entr

from whichgen.heads.base import HeadOutput
from whichgen.openset.base import OpenSetScore
from whichgen.openset.max_probability import softmax_probabilities


class Entropy(OpenSetScore):
    """Minus the entropy, in [-log(origins), 0]."""

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Score the images of a batch: float64 array (n,)."""
        return np.asarray(-entr(softmax_probabilities(output.logits)).sum(axis=1))
