"""Open-set scores: how known an image looks; high is known."""

from __future__ import annotations

import numpy as np


def max_probability(probabilities: np.ndarray) -> np.ndarray:
    """Maximum class probability (Hendrycks & Gimpel, 2017), the paper's known-ness score.

    ``s(x) = max_j p_j(x)``: float64 array (n, origins) → float64 array (n,) in [1/origins, 1].
    """
    return np.asarray(np.max(probabilities, axis=1))
