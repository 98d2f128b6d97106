"""Mahalanobis distance to the nearest origin, and its relative variant.

Let x be the embedding of an image, μ_j the mean of the training embeddings of origin j, and Σ the
covariance of the training embeddings around these means, shared by all origins. The score is (Lee
et al., 2018)::

    s(x) = max_j −(x − μ_j)ᵀ Σ⁻¹ (x − μ_j)

Σ is estimated with Ledoit & Wolf's (2004) shrinkage toward a multiple of the identity, because
there can be more dimensions than images.

The relative variant (Ren et al., 2021) adds the squared distance to a background Gaussian, whose
mean μ_0 and covariance Σ_0 are those of all training embeddings::

    s(x) = max_j [(x − μ_0)ᵀ Σ_0⁻¹ (x − μ_0) − (x − μ_j)ᵀ Σ⁻¹ (x − μ_j)]

Σ_0 is computed as the shrunk Σ plus the covariance of the means, weighted by the number of images
of each origin; without shrinkage, this sum is exactly the covariance of all training embeddings. If
Σ_0 were shrunk independently, it could be smaller than Σ in some directions, and distant images in
those directions would get high scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from whichgen.heads.head import HeadOutput
from whichgen.openset.score import ROUNDING, OpenSetScore, compute_class_means

# Ledoit & Wolf's shrinkage can be 0, which would make Σ singular if there are more dimensions than
# images: for example, with only two images, both of one origin.
_MIN_SHRINKAGE = 1e-6


@dataclass(frozen=True)
class Mahalanobis(OpenSetScore):
    """Mahalanobis score: the negative squared distance to the nearest origin's mean.

    Parameters
    ----------
    means
        Mean μ_j of the training embeddings of each origin j: float64 array (origins, d).
    whitening
        Matrix W with W Wᵀ = Σ⁻¹: float64 array (d, d).
    """

    means: np.ndarray
    whitening: np.ndarray

    @classmethod
    def fit(cls, output: HeadOutput, labels: np.ndarray, n_origins: int) -> Self:
        """Compute the means and the shared covariance; see :meth:`OpenSetScore.fit`."""
        means = compute_class_means(output.embedding, labels, n_origins)
        return cls(means, _compute_whitening(output.embedding, means[labels]))

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the negative squared distance to the nearest mean: float64 array (n,), ≤ 0."""
        x = np.asarray(output.embedding, dtype=np.float64)
        distances = [(((x - mean) @ self.whitening) ** 2).sum(axis=1) for mean in self.means]
        return np.asarray(-np.min(distances, axis=0))


@dataclass(frozen=True)
class RelativeMahalanobis(OpenSetScore):
    """Relative Mahalanobis score, computed only in the directions in which Σ and Σ_0 differ.

    The number r of these directions is at most the number of origins. In all other directions both
    distances are equal, so their difference would be a rounding error. With a single origin, every
    score is 0.

    Parameters
    ----------
    mean
        Mean μ_0 of all training embeddings: float64 array (d,).
    directions
        Directions, as columns, in which Σ is the identity and Σ_0 is diagonal: float64 array
        (d, r).
    spread
        Diagonal of Σ_0 in these directions, ≥ 1: float64 array (r,).
    means
        Differences μ_j − μ_0 in these directions: float64 array (origins, r).
    """

    mean: np.ndarray
    directions: np.ndarray
    spread: np.ndarray
    means: np.ndarray

    @classmethod
    def fit(cls, output: HeadOutput, labels: np.ndarray, n_origins: int) -> Self:
        """Compute the means and both covariances; see :meth:`OpenSetScore.fit`."""
        means = compute_class_means(output.embedding, labels, n_origins)
        whitening = _compute_whitening(output.embedding, means[labels])
        weights = np.bincount(labels, minlength=n_origins) / len(labels)
        mean = weights @ means
        # After whitening, Σ = I and Σ_0 = I + Mᵀ M, where row j of M is the whitened μ_j − μ_0,
        # times the square root of the weight of origin j. With M = U S Vᵀ, Σ_0 = I + V S² Vᵀ
        # differs from I only in the directions V.
        whitened = (means - mean) @ whitening
        _, sizes, v = np.linalg.svd(np.sqrt(weights)[:, None] * whitened, full_matrices=False)
        return cls(mean, whitening @ v.T, 1 + sizes**2, whitened @ v.T)

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the score of each image in a batch: float64 array (n,).

        This is the squared distance to the background Gaussian minus that to the nearest origin.
        """
        x = (np.asarray(output.embedding, dtype=np.float64) - self.mean) @ self.directions
        background = (x**2 / self.spread).sum(axis=1)
        distances = ((x[:, None] - self.means) ** 2).sum(axis=2)
        return np.asarray(background - distances.min(axis=1))


def _compute_whitening(features: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Compute W with W Wᵀ = Σ⁻¹, where Σ is the shrunk covariance of ``features - centers``.

    ``features`` and ``centers`` are float arrays (n, d), and W is a float64 array (d, d). If both
    inputs are equal up to rounding, for example with one image per origin, W is the identity.
    """
    # scikit-learn takes a second to import.
    from sklearn.covariance import ledoit_wolf_shrinkage, shrunk_covariance

    residuals = np.asarray(features, dtype=np.float64) - centers
    if np.abs(residuals).max() <= ROUNDING * np.abs(features).max():
        return np.eye(features.shape[1])
    shrinkage = max(ledoit_wolf_shrinkage(residuals, assume_centered=True), _MIN_SHRINKAGE)
    covariance = shrunk_covariance(residuals.T @ residuals / len(residuals), shrinkage=shrinkage)
    return np.ascontiguousarray(np.linalg.inv(np.linalg.cholesky(covariance)).T)
