"""OpenMax (Bendale & Boult, 2016): logits recalibrated by how far they are from their origin's.

With μ_j the mean logits z of origin j's well classified training images, and F_j a Weibull
distribution fitted on the largest distances of those images to μ_j, each of the α most probable
origins, of rank r = 0…α-1, is doubted by ω_j, and what is taken from it goes to *unknown*::

    ω_j = (1 − r/α) · F_j(‖z(x) − μ_j‖),    v_j = (1 − ω_j) z_j(x),    v_unknown = Σ_j ω_j z_j(x)

    s(x) = 1 − exp(v_unknown) / (exp(v_unknown) + Σ_j exp(v_j))

Probabilities do not change when a constant is added to a row of logits, but this does, and a logit
below zero would be *raised* by doubt. So z counts from the row's smallest logit here, and distances
are between rows that count from their means. F_j is fitted by maximum likelihood with its location
at 0, where the authors' libMR shifts the tail first. A tail is at most a tenth of the images: about
half of those in it are doubted by more than 1/2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logsumexp
from scipy.stats import weibull_min

from whichgen.errors import FitError
from whichgen.openset.base import ROUNDING, check_training, class_means, well_classified

# The part of the images that may be a tail: the paper's 20 were of about a thousand.
_TAIL_SHARE = 0.1

# Fewer distances than this, or distances as alike as this, make F_j a step.
_FEW = 5
_ALIKE = 1e-3


@dataclass(frozen=True)
class OpenMaxScore:
    """``means`` float64 (origins, origins), Weibull ``shapes`` and ``scales`` float64 (origins,),
    and ``alpha``, how many origins are doubted.
    """

    means: np.ndarray
    shapes: np.ndarray
    scales: np.ndarray
    alpha: int

    def __call__(self, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """1 − the probability of *unknown*: float64 array (n,) in [0, 1]."""
        z = np.asarray(logits, dtype=np.float64)
        distances = np.linalg.norm(_centered(z)[:, None] - self.means, axis=2)
        ranks = (-z).argsort(axis=1, kind="stable").argsort(axis=1)
        with np.errstate(over="ignore"):  # infinity to the Weibull distribution is certainty
            beyond = weibull_min.cdf(distances, self.shapes, scale=self.scales)
        doubt = np.clip(1 - ranks / self.alpha, 0, None) * beyond
        z = z - z.min(axis=1, keepdims=True)
        known = logsumexp((1 - doubt) * z, axis=1)
        # The same as 1 − softmax, with no digits lost to the difference.
        return np.asarray(expit(known - (doubt * z).sum(axis=1)))

    def tensors(self) -> dict[str, np.ndarray]:
        """``means``, ``shapes``, ``scales`` and ``alpha``."""
        return {
            "means": self.means,
            "shapes": self.shapes,
            "scales": self.scales,
            "alpha": np.array([self.alpha]),
        }


@dataclass(frozen=True)
class OpenMax:
    """The family of OpenMax scores.

    Parameters
    ----------
    tail
        How many of an origin's largest distances are fitted at most (≥ 5), the paper's 20 by
        default.
    alpha
        How many of the most probable origins are doubted (≥ 1), the paper's 10 by default; all
        where there are fewer.
    """

    tail: int = 20
    alpha: int = 10
    name: str = "openmax"

    def __post_init__(self) -> None:
        if self.tail < _FEW or self.alpha < 1:
            raise FitError(
                f"OpenMax needs a tail of at least {_FEW} and an alpha of at least 1, got "
                f"{self.tail} and {self.alpha}."
            )

    def fit(
        self, features: np.ndarray, logits: np.ndarray, labels: np.ndarray, n_origins: int
    ) -> OpenMaxScore:
        """Means and Weibull tails.

        An origin with too few images for a tail of its own takes that of all origins together.

        Raises
        ------
        FitError
            An origin has no image, or a feature or logit is not finite.
        """
        check_training(features, logits, labels, n_origins)
        good = well_classified(logits, labels)
        z, y = _centered(np.asarray(logits, dtype=np.float64)[good]), labels[good]
        means = class_means(z, y, n_origins)
        distances = np.linalg.norm(z - means[y], axis=1)
        distances[distances <= ROUNDING * np.abs(z).max()] = 0
        pooled = self._weibull(distances, _FEW)
        if pooled is None:
            # No tail at all, say one image an origin: doubt that grows slowly.
            pooled = 1.0, float(distances.mean()) or 1.0
        tails = [self._weibull(distances[y == origin], 0) or pooled for origin in range(n_origins)]
        shapes, scales = (np.array(column) for column in zip(*tails, strict=True))
        return OpenMaxScore(means, shapes, scales, min(self.alpha, n_origins))

    def restore(self, tensors: Mapping[str, np.ndarray]) -> OpenMaxScore:
        """The score of these means and tails."""
        return OpenMaxScore(
            tensors["means"], tensors["shapes"], tensors["scales"], tensors["alpha"].item()
        )

    def _weibull(self, distances: np.ndarray, least: int) -> tuple[float, float] | None:
        """Shape and scale of the largest distances; nothing where they are too few or alike.

        ``least`` as many are taken, whatever their share.
        """
        tail = min(self.tail, max(least, int(_TAIL_SHARE * len(distances))))
        largest = np.sort(distances)[len(distances) - min(tail, len(distances)) :]
        largest = largest[largest > 0]
        if len(largest) < _FEW or np.ptp(largest) <= _ALIKE * largest[-1]:
            return None
        # Fitted at one scale, for which scipy's search starts well.
        shape, _, scale = weibull_min.fit(largest / largest[-1], floc=0)
        return float(shape), float(scale * largest[-1])


def _centered(logits: np.ndarray) -> np.ndarray:
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))
