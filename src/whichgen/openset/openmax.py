"""OpenMax (Bendale & Boult, 2016): logits reduced for images far from the mean of an origin.

Let z be the logits of an image, μ_j the mean logits of the correctly classified training images of
origin j (:func:`~whichgen.openset.score.select_correct`), and F_j the cumulative distribution
function of a Weibull distribution fitted to the largest distances of those images from μ_j (the
*tail*). The logits of the α most probable origins, with rank r from 0 to α − 1, are multiplied by
1 − ω_j. The logit of an additional class *unknown* is the sum of the amounts by which they are
reduced::

    ω_j = (1 − r/α) · F_j(‖z(x) − μ_j‖),    v_j = (1 − ω_j) z_j(x),    v_unknown = Σ_j ω_j z_j(x)

    s(x) = 1 − exp(v_unknown) / (exp(v_unknown) + Σ_j exp(v_j))

Differences from the paper:

- Adding a constant to all logits of an image leaves the softmax unchanged but changes v, and a
  negative logit would *increase*. Therefore v is computed after subtracting the smallest logit of
  the image, and distances are computed after subtracting the mean logit.
- F_j is fitted by maximum likelihood with location 0, whereas the authors' library libMR first
  shifts the tail.
- The tail of an origin contains at most a tenth of its correctly classified images. F_j exceeds 1/2
  for about half of the tail, so a longer tail would greatly reduce the logits of many images of
  this origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from whichgen.heads.head import HeadOutput
from whichgen.heads.softmax import logsumexp
from whichgen.openset.score import ROUNDING, OpenSetScore, compute_class_means, select_correct

# Maximum fraction of an origin's correctly classified images in its tail. In the paper, the tail
# contains 20 of about 1000 images.
_TAIL_FRACTION = 0.1

# Minimum number of distances in a tail, and minimum range of the distances relative to the largest.
# For smaller tails, F_j would be nearly a step function.
_MIN_TAIL = 5
_MIN_RANGE = 1e-3


@dataclass(frozen=True)
class OpenMax(OpenSetScore):
    """OpenMax score: one minus the probability of *unknown*.

    Parameters
    ----------
    means
        Mean logits μ_j of each origin, after subtracting the mean logit of each image: float64
        array (origins, origins).
    shapes, scales
        Parameters of the Weibull distributions F_j: float64 arrays (origins,).
    alpha
        α, the number of origins whose logits are reduced, from 1 to the number of origins.
    """

    means: np.ndarray
    shapes: np.ndarray
    scales: np.ndarray
    alpha: int

    @classmethod
    def fit(
        cls,
        output: HeadOutput,
        labels: np.ndarray,
        n_origins: int,
        tail_size: int = 20,
        alpha: int = 10,
    ) -> Self:
        """Compute the means, and fit the Weibull distributions.

        The defaults of ``tail_size`` and ``alpha`` are from Bendale & Boult (2016). If the tail of
        an origin has fewer than 5 distances or nearly equal distances, the distribution fitted to
        the largest distances of all origins together is used; if these are also too few or nearly
        equal, an exponential distribution.

        Parameters
        ----------
        output, labels, n_origins
            See :meth:`OpenSetScore.fit`.
        tail_size
            Maximum number of distances in the tail of an origin, ≥ 5.
        alpha
            α, ≥ 1; if it exceeds the number of origins, this number is used instead.
        """
        selected = select_correct(output.logits, labels)
        z = _center_rows(np.asarray(output.logits, dtype=np.float64)[selected])
        y = labels[selected]
        means = compute_class_means(z, y, n_origins)
        distances = np.linalg.norm(z - means[y], axis=1)
        distances[distances <= ROUNDING * np.abs(z).max()] = 0
        # A Weibull distribution with shape 1 is an exponential distribution.
        exponential = 1.0, float(distances.mean()) or 1.0
        common = _fit_tail(distances, tail_size, _MIN_TAIL) or exponential
        parameters = [
            _fit_tail(distances[y == origin], tail_size) or common for origin in range(n_origins)
        ]
        shapes, scales = (np.array(column) for column in zip(*parameters, strict=True))
        return cls(means, shapes, scales, min(alpha, n_origins))

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute one minus the probability of *unknown*: float64 array (n,) in [0, 1]."""
        from scipy.special import expit  # scipy takes half a second to import
        from scipy.stats import weibull_min

        z = np.asarray(output.logits, dtype=np.float64)
        distances = np.linalg.norm(_center_rows(z)[:, None] - self.means, axis=2)
        ranks = (-z).argsort(axis=1, kind="stable").argsort(axis=1)
        with np.errstate(over="ignore"):  # an overflow to infinity gives F_j = 1
            tail_probabilities = weibull_min.cdf(distances, self.shapes, scale=self.scales)
        omega = np.clip(1 - ranks / self.alpha, 0, None) * tail_probabilities
        z = z - z.min(axis=1, keepdims=True)
        known = logsumexp((1 - omega) * z, axis=1)
        # Equal to 1 − softmax, without cancellation.
        return np.asarray(expit(known - (omega * z).sum(axis=1)))


def _fit_tail(distances: np.ndarray, maximum: int, minimum: int = 0) -> tuple[float, float] | None:
    """Fit a Weibull distribution to the largest distances, and return its shape and scale.

    ``distances`` is a float array (n,), ≥ 0. The largest tenth of the distances is selected, but at
    least ``minimum`` and at most ``maximum`` distances. The distribution is fitted to the positive
    distances among them. The result is ``None`` if fewer than 5 of them are positive or if the
    positive distances are nearly equal.
    """
    size = min(maximum, max(minimum, int(_TAIL_FRACTION * len(distances))), len(distances))
    largest = np.sort(distances)[len(distances) - size :]
    largest = largest[largest > 0]
    if len(largest) < _MIN_TAIL or np.ptp(largest) <= _MIN_RANGE * largest[-1]:
        return None
    from scipy.stats import weibull_min

    # SciPy's optimizer converges reliably if the scale is about 1.
    shape, _, scale = weibull_min.fit(largest / largest[-1], floc=0)
    return float(shape), float(scale * largest[-1])


def _center_rows(logits: np.ndarray) -> np.ndarray:
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))
