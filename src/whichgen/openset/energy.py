"""Negative free energy at temperature 1 (Liu et al., 2020): log Σ_j exp(z_j(x))."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from whichgen.heads.base import HeadOutput
from whichgen.openset.base import OpenSetScore


def negative_energy(logits: np.ndarray) -> np.ndarray:
    """Compute log Σ_j exp(z_j): (n, origins) → float64 array (n,).

    Between the largest logit and the largest logit plus log(origins).
    """
    return np.asarray(logsumexp(np.asarray(logits, dtype=np.float64), axis=1))


class Energy(OpenSetScore):
    """Minus the free energy of the logits."""

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Score the images of a batch: float64 array (n,)."""
        return negative_energy(output.logits)
