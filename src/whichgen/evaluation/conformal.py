"""Split conformal prediction: sets that contain the true origin with a given probability.

The nonconformity score of origin j for image x is s(x, j) = 1 − pⱼ(x) (LAC; Sadinle, Lei &
Wasserman, 2019), which gives the smallest sets on average. The quantile q is the k-th smallest
s(x, y) over n known validation images with true origins y. The prediction set of a new image is
``{j: s(x, j) ≤ q}`` (Vovk, Gammerman & Shafer, 2005)::

    k = ⌈(n + 1) · coverage⌉,    P(y ∈ set) ≥ coverage

The coverage is an average: it is lower for difficult images. A set can be empty, which means that
the image resembles none of the origins.

**Limitations.** The guarantee assumes that new images and validation images are exchangeable, and
it is an average over images *and* over draws of the validation images. It does not hold

- for images that differ from the validation images in subject, size, format or compression;
- for images of unknown generators, whose true origin is in no set;
- if block, hyperparameter, temperature or early stopping were selected on the same validation
  images: sets are then too small, but only slightly if few candidates were compared;
- if validation images are grouped (by prompt or video): the effective n is smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whichgen.errors import FitError


@dataclass(frozen=True)
class ConformalQuantile:
    """Quantile of nonconformity scores, for :func:`prediction_sets`.

    Parameters
    ----------
    value
        In [0, 1], or infinity if there are too few validation images: every set then contains all
        origins.
    notes
        A warning if there are too few validation images, to show with the sets; otherwise empty.
    """

    value: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CoverageMetrics:
    """Coverage and size of prediction sets.

    Parameters
    ----------
    coverage
        Fraction of sets that contain the true origin, in [0, 1].
    mean_size
        Mean number of origins per set.
    """

    coverage: float
    mean_size: float


def conformal_quantile(
    probabilities: np.ndarray, labels: np.ndarray, coverage: float = 0.9
) -> ConformalQuantile:
    """Compute the quantile of nonconformity scores on known validation images.

    Parameters
    ----------
    probabilities
        float array (n, origins).
    labels
        Indices of true origins: int array (n,).
    coverage
        Target fraction of sets that contain the true origin, in (0, 1).

    Raises
    ------
    FitError
        ``coverage`` is out of range.
    """
    if not 0 < coverage < 1:
        raise FitError(f"the coverage must be greater than 0 and less than 1, got {coverage}.")
    n = len(labels)
    scores = np.sort(1 - np.asarray(probabilities, dtype=np.float64)[np.arange(n), labels])
    # The tolerance keeps e.g. 0.95 · 100 from becoming 96 by rounding.
    k = int(np.ceil((n + 1) * coverage - 1e-9))
    if k <= n:
        return ConformalQuantile(float(scores[k - 1]))
    needed = int(np.ceil(coverage / (1 - coverage) - 1e-9))
    return ConformalQuantile(
        float("inf"),
        (
            f"{n} validation images are too few for a coverage of {coverage:g}, so every "
            f"prediction set contains all origins. Use at least {needed} validation images.",
        ),
    )


def prediction_sets(probabilities: np.ndarray, quantile: ConformalQuantile) -> np.ndarray:
    """Return which origins are in each image's prediction set; sets can be empty.

    Parameters
    ----------
    probabilities
        float array (n, origins).
    quantile
        The result of :func:`conformal_quantile`.

    Returns
    -------
    bool array (n, origins)
    """
    return np.asarray(1 - np.asarray(probabilities, dtype=np.float64) <= quantile.value)


def coverage_metrics(sets: np.ndarray, labels: np.ndarray) -> CoverageMetrics:
    """Compute the coverage and mean size of prediction sets.

    Parameters
    ----------
    sets
        The result of :func:`prediction_sets`: bool array (n, origins), n at least 1.
    labels
        Indices of true origins: int array (n,).
    """
    return CoverageMetrics(
        coverage=float(sets[np.arange(len(labels)), labels].mean()),
        mean_size=float(sets.sum(axis=1).mean()),
    )
