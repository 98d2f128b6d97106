"""Mahalanobis distance to the nearest origin (Lee et al., 2018).

With μ_j the mean feature of origin j and Σ the covariance around the means, shared by all origins::

    s(x) = max_j −(x − μ_j)ᵀ Σ⁻¹ (x − μ_j)

Σ is shrunk toward a multiple of the identity by the estimate of Ledoit & Wolf (2004), because there
can be more dimensions than images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage, shrunk_covariance

from whichgen.heads.base import HeadOutput
from whichgen.openset.base import ROUNDING, OpenSetScore, class_means

# For two distinct images Ledoit & Wolf's estimate is 0, which would make Σ singular.
_MIN_SHRINKAGE = 1e-6


@dataclass(frozen=True)
class Mahalanobis(OpenSetScore):
    """``means`` float64 (origins, d) and ``whitening`` W float64 (d, d) with W Wᵀ = Σ⁻¹."""

    means: np.ndarray
    whitening: np.ndarray

    @classmethod
    def fit(cls, output: HeadOutput, labels: np.ndarray, n_origins: int) -> Self:
        """Compute the means and the shared covariance; see :meth:`OpenSetScore.fit`."""
        means = class_means(output.embedding, labels, n_origins)
        return cls(means, whitening_matrix(output.embedding, means[labels]))

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute minus the squared distance to the nearest mean: float64 array (n,), ≤ 0."""
        x = np.asarray(output.embedding, dtype=np.float64)
        distances = [(((x - mean) @ self.whitening) ** 2).sum(axis=1) for mean in self.means]
        return np.asarray(-np.min(distances, axis=0))


def whitening_matrix(features: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Compute W with W Wᵀ = Σ⁻¹, Σ the shrunk covariance of features around centers.

    Both arrays have shape (n, d). Returns the identity if every image equals its center, for
    example with one image per origin.
    """
    residuals = np.asarray(features, dtype=np.float64) - centers
    if np.abs(residuals).max() <= ROUNDING * np.abs(features).max():
        return np.eye(features.shape[1])
    shrinkage = max(ledoit_wolf_shrinkage(residuals, assume_centered=True), _MIN_SHRINKAGE)
    covariance = shrunk_covariance(residuals.T @ residuals / len(residuals), shrinkage=shrinkage)
    return np.ascontiguousarray(np.linalg.inv(np.linalg.cholesky(covariance)).T)
