"""A mixture of Gaussians an origin, with diagonal covariances; the density under the best.

The class-conditional density of Bishop (2006, section 9.2), on features u that are standardized by
all training images::

    s(x) = max_j log Σ_c π_jc N(u(x); μ_jc, diag(σ²_jc))
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from whichgen.errors import FitError
from whichgen.heads.base import check_training
from whichgen.openset.base import ROUNDING

# Different images that a component must have, for its variances to mean something.
_IMAGES = 10

# Added to each variance, in units of the column's variance over all training images: few images can
# agree on a value by chance, and all do on that of a constant column.
_LEAST_VARIANCE = 0.1


@dataclass(frozen=True)
class GaussiansScore:
    """All origins' m components one after the other.

    ``center`` and ``scale`` float64 (d,) standardize; ``origins`` int64 (m,) says whose a component
    is; ``weights`` float64 (m,), ``means`` and ``variances`` float64 (m, d).
    """

    center: np.ndarray
    scale: np.ndarray
    origins: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    def __call__(self, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Log density of the best origin, in standardized units: float64 array (n,)."""
        u = (np.asarray(features, dtype=np.float64) - self.center) / self.scale
        constants = np.log(self.weights) - np.log(2 * np.pi * self.variances).sum(axis=1) / 2
        components = np.stack(
            [
                constant - ((u - mean) ** 2 / variance).sum(axis=1) / 2
                for constant, mean, variance in zip(
                    constants, self.means, self.variances, strict=True
                )
            ]
        )
        densities = [
            logsumexp(components[self.origins == origin], axis=0)
            for origin in np.unique(self.origins)
        ]
        return np.asarray(np.max(densities, axis=0))

    def tensors(self) -> dict[str, np.ndarray]:
        """``center``, ``scale``, ``origins``, ``weights``, ``means`` and ``variances``."""
        return {
            "center": self.center,
            "scale": self.scale,
            "origins": self.origins,
            "weights": self.weights,
            "means": self.means,
            "variances": self.variances,
        }


@dataclass(frozen=True)
class Gaussians:
    """The family of mixture scores.

    Parameters
    ----------
    components
        Gaussians an origin (≥ 1); fewer where there are not ten different images for each.
    seed
        Of the k-means clustering from which the mixture is fitted.
    """

    components: int = 2
    seed: int = 0
    name: str = "gaussians"

    def __post_init__(self) -> None:
        if self.components < 1:
            raise FitError(f"a mixture needs at least 1 component, got {self.components}.")

    def fit(
        self, features: np.ndarray, logits: np.ndarray, labels: np.ndarray, n_origins: int
    ) -> GaussiansScore:
        """One mixture an origin, by expectation-maximization.

        Raises
        ------
        FitError
            An origin has no image, or a feature is not finite.
        """
        check_training(features, labels, n_origins)
        # k-means starts at images drawn by number: in an order of their own, the order in which
        # they come is no matter.
        order = np.lexsort((*np.asarray(features).T, labels))
        x, y = np.asarray(features, dtype=np.float64)[order], labels[order]
        center, scale = x.mean(axis=0), x.std(axis=0)
        varied = scale > ROUNDING * np.abs(x).max(axis=0)
        scale = np.where(varied, scale, scale[varied].mean() if varied.any() else 1.0)
        u = (x - center) / scale
        mixtures = [self._mixture(u[y == origin]) for origin in range(n_origins)]
        return GaussiansScore(
            center,
            scale,
            np.repeat(np.arange(n_origins), [m.n_components for m in mixtures]),
            np.concatenate([m.weights_ for m in mixtures]),
            np.concatenate([m.means_ for m in mixtures]),
            np.concatenate([m.covariances_ for m in mixtures]),
        )

    def restore(self, tensors: Mapping[str, np.ndarray]) -> GaussiansScore:
        """The score of these mixtures."""
        return GaussiansScore(
            tensors["center"],
            tensors["scale"],
            tensors["origins"],
            tensors["weights"],
            tensors["means"],
            tensors["variances"],
        )

    def _mixture(self, rows: np.ndarray) -> GaussianMixture:
        different = len(np.unique(rows, axis=0))
        mixture = GaussianMixture(
            min(self.components, max(1, different // _IMAGES)),
            covariance_type="diag",
            reg_covar=_LEAST_VARIANCE,
            max_iter=1000,
            random_state=self.seed,
        )
        with warnings.catch_warnings():
            # Wherever the fit stops, it is a density.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # scikit-learn refuses a single image; twice the same is the same mixture.
            return mixture.fit(rows if len(rows) > 1 else np.repeat(rows, 2, axis=0))
