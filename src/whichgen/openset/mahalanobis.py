"""Mahalanobis distances to the origins.

The distance to the nearest origin (Lee et al., 2018), with μ_j the mean feature of origin j and Σ
the covariance around the means, shared by all origins::

    s(x) = max_j −(x − μ_j)ᵀ Σ⁻¹ (x − μ_j)

Σ is shrunk toward a multiple of the identity by the estimate of Ledoit & Wolf (2004), because there
can be more dimensions than images.

The relative distance (Ren et al., 2021) subtracts what all images have in common: a background
Gaussian with mean μ_0 and covariance Σ_0 of all training images together::

    s(x) = max_j [(x − μ_0)ᵀ Σ_0⁻¹ (x − μ_0) − (x − μ_j)ᵀ Σ⁻¹ (x − μ_j)]

Σ_0 is the shrunk Σ plus the covariance of the means, an identity without shrinkage. If Σ_0 were
shrunk independently, it could be smaller than Σ in some directions, and distant images in those
directions would look known.
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
        return cls(means, _whitening_matrix(output.embedding, means[labels]))

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute minus the squared distance to the nearest mean: float64 array (n,), ≤ 0."""
        x = np.asarray(output.embedding, dtype=np.float64)
        distances = [(((x - mean) @ self.whitening) ** 2).sum(axis=1) for mean in self.means]
        return np.asarray(-np.min(distances, axis=0))


@dataclass(frozen=True)
class RelativeMahalanobis(OpenSetScore):
    """The score in the r ≤ origins directions in which the two Gaussians differ.

    In all other directions both distances are equal, and their difference would be a rounding
    error. For a single origin every score is 0.

    Parameters
    ----------
    mean
        μ_0: float64 (d,).
    directions
        Directions that make Σ the identity and Σ_0 diagonal: float64 (d, r).
    spread
        The diagonal of Σ_0 in these directions, ≥ 1: float64 (r,).
    means
        The origins' means in these directions: float64 (origins, r).
    """

    mean: np.ndarray
    directions: np.ndarray
    spread: np.ndarray
    means: np.ndarray

    @classmethod
    def fit(cls, output: HeadOutput, labels: np.ndarray, n_origins: int) -> Self:
        """Compute the means and both covariances; see :meth:`OpenSetScore.fit`."""
        means = class_means(output.embedding, labels, n_origins)
        whitening = _whitening_matrix(output.embedding, means[labels])
        weights = np.bincount(labels, minlength=n_origins) / len(labels)
        mean = weights @ means
        # After whitening, Σ = I and Σ_0 = I + Mᵀ M, where M are the origins' weighted means. With
        # M = U S Vᵀ this is I + V S² Vᵀ: it differs from I only in the directions V.
        whitened = (means - mean) @ whitening
        _, sizes, v = np.linalg.svd(np.sqrt(weights)[:, None] * whitened, full_matrices=False)
        return cls(mean, whitening @ v.T, 1 + sizes**2, whitened @ v.T)

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Subtract the nearest origin's squared distance from the background's: float64 (n,)."""
        t = (np.asarray(output.embedding, dtype=np.float64) - self.mean) @ self.directions
        background = (t**2 / self.spread).sum(axis=1)
        distances = ((t[:, None] - self.means) ** 2).sum(axis=2)
        return np.asarray(background - distances.min(axis=1))


def _whitening_matrix(features: np.ndarray, centers: np.ndarray) -> np.ndarray:
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
