"""Split conformal prediction: sets of origins that contain the true one with a given probability.

Each origin j gets a score s(x, j) = 1 − pⱼ(x) (LAC; Sadinle, Lei & Wasserman, 2019: the smallest
sets on average). On n known validation images with true origins y, the quantile q is the k-th
smallest s(x, y), and the set of a new image is ``{j: s(x, j) ≤ q}`` (Vovk, Gammerman & Shafer,
2005)::

    k = ⌈(n + 1) · coverage⌉,    P(y ∈ set) ≥ coverage

Hard images get less than the coverage, and some an empty set: they resemble none of the origins.

**When the guarantee does not hold.** It is for a new image that could as well have been one of the
validation images (exchangeability), on average over images *and* over draws of the validation
images. So it does not hold

- for images unlike the validation images: other subjects, sizes, formats, or recompressed;
- for an unknown generator, whose true origin is in no set;
- if block, hyperparameter, temperature or stopping were chosen on the same validation images: sets
  are then too small, slightly so if few candidates were compared;
- as written if validation images come in groups (a prompt, a video): n counts for less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whichgen.errors import FitError


@dataclass(frozen=True)
class ConformalQuantile:
    """The quantile that :func:`prediction_sets` needs.

    Parameters
    ----------
    value
        In [0, 1]; infinite, so that every origin is in every set, if there were too few images.
    notes
        Sentences to show beside the sets: a warning if there were too few images.
    """

    value: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CoverageMetrics:
    """Coverage and size of prediction sets.

    Parameters
    ----------
    coverage
        Share of sets that contain the true origin, in [0, 1].
    mean_size
        Mean number of origins per set.
    """

    coverage: float
    mean_size: float


def conformal_quantile(
    probabilities: np.ndarray, labels: np.ndarray, coverage: float = 0.9
) -> ConformalQuantile:
    """Compute the quantile from known validation images.

    Parameters
    ----------
    probabilities
        float array (n, origins).
    labels
        Indices of true origins: int array (n,).
    coverage
        Target share of sets that contain the true origin, in (0, 1).

    Raises
    ------
    FitError
        ``coverage`` is out of range.
    """
    if not 0 < coverage < 1:
        raise FitError(f"the coverage must be over 0 and under 1, got {coverage}.")
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
            f"{n} validation images are too few for a coverage of {coverage:g}: every set "
            f"holds all origins. {needed} are needed.",
        ),
    )


def prediction_sets(probabilities: np.ndarray, quantile: ConformalQuantile) -> np.ndarray:
    """Return whether each origin is in each image's set: (n, origins) → bool (n, origins).

    Sets can be empty.
    """
    return np.asarray(1 - np.asarray(probabilities, dtype=np.float64) <= quantile.value)


def coverage_metrics(sets: np.ndarray, labels: np.ndarray) -> CoverageMetrics:
    """Measure how often sets (n, origins) contain the true origin; labels (n,), n at least 1."""
    return CoverageMetrics(
        coverage=float(sets[np.arange(len(labels)), labels].mean()),
        mean_size=float(sets.sum(axis=1).mean()),
    )
