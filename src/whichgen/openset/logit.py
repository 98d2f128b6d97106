"""Scores of the logits z themselves, which still tell images apart whose probabilities are all 1.

Maximum logit (Hendrycks et al., 2022), and minus the free energy at temperature 1 (Liu et al.,
2020)::

    max_j z_j(x)        log Σ_j exp(z_j(x))
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp


def max_logit(logits: np.ndarray) -> np.ndarray:
    """The largest logit: (n, origins) → float64 array (n,)."""
    return np.asarray(np.max(logits, axis=1), dtype=np.float64)


def energy(logits: np.ndarray) -> np.ndarray:
    """Minus the free energy: (n, origins) → float64 array (n,), at most log(origins) over the
    largest logit and never below it.
    """
    return np.asarray(logsumexp(np.asarray(logits, dtype=np.float64), axis=1))
