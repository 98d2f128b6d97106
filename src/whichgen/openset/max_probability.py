"""Maximum softmax probability (Hendrycks & Gimpel, 2017), the paper's score: max_j p_j(x)."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from whichgen.heads.base import HeadOutput
from whichgen.openset.base import OpenSetScore


def softmax_probabilities(logits: np.ndarray) -> np.ndarray:
    """Compute the softmax in float64: (n, origins) → (n, origins)."""
    return np.asarray(softmax(np.asarray(logits, dtype=np.float64), axis=1))


class MaxProbability(OpenSetScore):
    """The largest probability, in [1/origins, 1]."""

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Score the images of a batch: float64 array (n,)."""
        return np.asarray(softmax_probabilities(output.logits).max(axis=1))
