"""Gaussian mixture model of each origin, with diagonal covariances.

The score is the highest log-density of an image under any origin (Bishop, 2006, section 9.2). With
u(x) the features standardized over all training images, and π_jc, μ_jc and σ²_jc the weight, mean
and variances of component c of origin j::

    s(x) = max_j log Σ_c π_jc N(u(x); μ_jc, diag(σ²_jc))
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from whichgen.heads.base import HeadOutput
from whichgen.openset.base import ROUNDING, OpenSetScore

# Minimum number of distinct images per component, so that its variances are meaningful.
_IMAGES_PER_COMPONENT = 10

# Added to each variance, in units of the column's variance over all training images: few images can
# have equal values by chance, and a constant column always has.
_MIN_VARIANCE = 0.1


@dataclass(frozen=True)
class ClassGaussianMixtures(OpenSetScore):
    """Gaussian mixtures of all origins, with m components in total.

    Parameters
    ----------
    center, scale
        Mean and standard deviation of the training features: float64 (d,).
    origins
        Origin index of each component: int64 (m,).
    weights
        Mixture weights: float64 (m,).
    means, variances
        Means and variances in standardized units: float64 (m, d).
    """

    center: np.ndarray
    scale: np.ndarray
    origins: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    @classmethod
    def fit(
        cls, output: HeadOutput, labels: np.ndarray, n_origins: int, components: int = 2
    ) -> Self:
        """Fit one mixture per origin by expectation-maximization; see :meth:`OpenSetScore.fit`.

        ``components``, ≥ 1, is the maximum number of components per origin. Each component needs
        ten distinct images, but every origin gets at least one component.
        """
        # k-means draws its starting points by row number: sort the rows, so that the result does
        # not depend on the order of the images.
        order = np.lexsort((*np.asarray(output.embedding).T, labels))
        x, y = np.asarray(output.embedding, dtype=np.float64)[order], labels[order]
        center, scale = x.mean(axis=0), x.std(axis=0)
        varies = scale > ROUNDING * np.abs(x).max(axis=0)
        scale = np.where(varies, scale, scale[varies].mean() if varies.any() else 1.0)
        u = (x - center) / scale
        mixtures = [_fit_mixture(u[y == origin], components) for origin in range(n_origins)]
        return cls(
            center,
            scale,
            np.repeat(np.arange(n_origins), [m.n_components for m in mixtures]),
            np.concatenate([m.weights_ for m in mixtures]),
            np.concatenate([m.means_ for m in mixtures]),
            np.concatenate([m.covariances_ for m in mixtures]),
        )

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the highest log-density of u(x) under any origin: float64 array (n,)."""
        u = (np.asarray(output.embedding, dtype=np.float64) - self.center) / self.scale
        constants = np.log(self.weights) - np.log(2 * np.pi * self.variances).sum(axis=1) / 2
        components = zip(self.means, self.variances, strict=True)
        distances = np.stack([((u - mean) ** 2 / v).sum(axis=1) for mean, v in components])
        logs = constants[:, None] - distances / 2
        densities = [logsumexp(logs[self.origins == o], axis=0) for o in np.unique(self.origins)]
        return np.asarray(np.max(densities, axis=0))


def _fit_mixture(rows: np.ndarray, components: int) -> GaussianMixture:
    distinct = len(np.unique(rows, axis=0))
    mixture = GaussianMixture(
        min(components, max(1, distinct // _IMAGES_PER_COMPONENT)),
        covariance_type="diag",
        reg_covar=_MIN_VARIANCE,
        max_iter=1000,
        random_state=0,
    )
    with warnings.catch_warnings():
        # The mixture is a valid density wherever the fit stops.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # scikit-learn rejects a single image; repeating it gives the same mixture.
        return mixture.fit(rows if len(rows) > 1 else np.repeat(rows, 2, axis=0))
