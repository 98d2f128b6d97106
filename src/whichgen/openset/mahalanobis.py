"""Distances to the origins in units of their spread: Mahalanobis and relative Mahalanobis.

With μ_j the mean feature of origin j and Σ the covariance around it, one for all origins (Lee et
al., 2018)::

    s(x) = max_j −(x − μ_j)ᵀ Σ⁻¹ (x − μ_j)

Relative to a Gaussian of mean μ_0 and covariance Σ_0 of all training images together (Ren et al.,
2021), what all images share cancels out::

    s(x) = max_j [(x − μ_0)ᵀ Σ_0⁻¹ (x − μ_0) − (x − μ_j)ᵀ Σ⁻¹ (x − μ_j)]

Dimensions may outnumber images, so Σ is shrunk toward a multiple of the identity as far as Ledoit
& Wolf (2004) estimate. Σ_0 is this Σ plus the covariance of the means, as without shrinkage it is;
shrunk on its own it could be smaller than Σ somewhere, and there far images would look known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage, shrunk_covariance

from whichgen.heads.base import check_training
from whichgen.openset.base import ROUNDING, class_means

# Of two images that are not one, Ledoit & Wolf's estimate is 0, and Σ would have no inverse.
_LEAST_SHRINKAGE = 1e-6


@dataclass(frozen=True)
class MahalanobisScore:
    """``means`` float64 (origins, d) and ``whitening`` W float64 (d, d) with W Wᵀ = Σ⁻¹."""

    means: np.ndarray
    whitening: np.ndarray

    def __call__(self, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Minus the squared distance to the nearest mean: float64 array (n,) in (-∞, 0]."""
        x = np.asarray(features, dtype=np.float64)
        distances = [(((x - mean) @ self.whitening) ** 2).sum(axis=1) for mean in self.means]
        return np.asarray(-np.min(distances, axis=0))

    def tensors(self) -> dict[str, np.ndarray]:
        """``means`` and ``whitening``."""
        return {"means": self.means, "whitening": self.whitening}


@dataclass(frozen=True)
class Mahalanobis:
    """The family of Mahalanobis scores."""

    name: str = "mahalanobis"

    def fit(
        self, features: np.ndarray, logits: np.ndarray, labels: np.ndarray, n_origins: int
    ) -> MahalanobisScore:
        """Means and shared covariance.

        Raises
        ------
        FitError
            An origin has no image, or a feature is not finite.
        """
        check_training(features, labels, n_origins)
        means = class_means(features, labels, n_origins)
        return MahalanobisScore(means, _whitening(features, means[labels]))

    def restore(self, tensors: Mapping[str, np.ndarray]) -> MahalanobisScore:
        """The score of these means and this covariance."""
        return MahalanobisScore(tensors["means"], tensors["whitening"])


@dataclass(frozen=True)
class RelativeMahalanobisScore:
    """The score in the r ≤ origins directions in which the two Gaussians differ.

    In all others both distances are the same, and their difference would be rounding. ``mean`` μ_0
    float64 (d,), ``directions`` float64 (d, r) that make Σ the identity and Σ_0 diagonal, the
    diagonal ``spread`` float64 (r,) ≥ 1, and the origins' ``means`` there, float64 (origins, r).
    """

    mean: np.ndarray
    directions: np.ndarray
    spread: np.ndarray
    means: np.ndarray

    def __call__(self, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """The background's squared distance minus the nearest origin's: float64 array (n,)."""
        t = (np.asarray(features, dtype=np.float64) - self.mean) @ self.directions
        background = (t**2 / self.spread).sum(axis=1)
        distances = ((t[:, None] - self.means) ** 2).sum(axis=2)
        return np.asarray(background - distances.min(axis=1))

    def tensors(self) -> dict[str, np.ndarray]:
        """``mean``, ``directions``, ``spread`` and ``means``."""
        return {
            "mean": self.mean,
            "directions": self.directions,
            "spread": self.spread,
            "means": self.means,
        }


@dataclass(frozen=True)
class RelativeMahalanobis:
    """The family of relative Mahalanobis scores. Of a single origin every score is 0."""

    name: str = "relative_mahalanobis"

    def fit(
        self, features: np.ndarray, logits: np.ndarray, labels: np.ndarray, n_origins: int
    ) -> RelativeMahalanobisScore:
        """Means, shared covariance and the background's.

        Raises
        ------
        FitError
            An origin has no image, or a feature is not finite.
        """
        check_training(features, labels, n_origins)
        means = class_means(features, labels, n_origins)
        whitening = _whitening(features, means[labels])
        shares = np.bincount(labels, minlength=n_origins) / len(labels)
        mean = shares @ means
        # Whitened, Σ is the identity and Σ_0 = I + Mᵀ M, M the origins' weighted means. With
        # M = U S Vᵀ it is I + V S² Vᵀ: other than the identity in V's directions only.
        whitened = (means - mean) @ whitening
        _, sizes, v = np.linalg.svd(np.sqrt(shares)[:, None] * whitened, full_matrices=False)
        return RelativeMahalanobisScore(
            mean,
            whitening @ v.T,
            1 + sizes**2,
            whitened @ v.T,
        )

    def restore(self, tensors: Mapping[str, np.ndarray]) -> RelativeMahalanobisScore:
        """The score of these Gaussians."""
        return RelativeMahalanobisScore(
            tensors["mean"], tensors["directions"], tensors["spread"], tensors["means"]
        )


def _whitening(features: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """W with W Wᵀ = Σ⁻¹, Σ the shrunk covariance of features around centers, both (n, d)."""
    residuals = np.asarray(features, dtype=np.float64) - centers
    if np.abs(residuals).max() <= ROUNDING * np.abs(features).max():
        # No image is off its mean, say one image an origin: plain distance.
        return np.eye(features.shape[1])
    shrinkage = max(ledoit_wolf_shrinkage(residuals, assume_centered=True), _LEAST_SHRINKAGE)
    covariance = shrunk_covariance(residuals.T @ residuals / len(residuals), shrinkage=shrinkage)
    return np.ascontiguousarray(np.linalg.inv(np.linalg.cholesky(covariance)).T)
