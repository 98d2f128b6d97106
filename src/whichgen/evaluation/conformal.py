"""Split conformal prediction: sets that contain the true origin with a minimum probability.

The nonconformity score of origin j for image x is s(x, j) = 1 − pⱼ(x), where pⱼ(x) is the predicted
probability of j. If the probabilities are correct, this score gives the smallest sets on average
for a given coverage (Sadinle, Lei & Wasserman, 2019). The quantile q is the k-th smallest score
s(x, y) over n validation images x with known origins y, or infinity if k > n. The prediction set of
a new image x is ``{j: s(x, j) ≤ q}``. It contains the true origin y with a probability of at least
the target coverage, a number in (0, 1) (Vovk, Gammerman & Shafer, 2005)::

    k = ⌈(n + 1) · coverage⌉,    P(y ∈ set) ≥ coverage

The guarantee is marginal, that is, on average over images: coverage can be lower for difficult
images. A set is empty if the probability of every origin is below 1 − q.

**Sources.** Images of one source resemble each other, so images are not exchangeable, but sources
may be. With K sources, where source k has n_k validation images with scores s_k1, s_k2, …, q is the
quantile, at the level of the target coverage, of a distribution in which each source has equal
weight (hierarchical conformal prediction: Lee, Barber & Willett, 2023, arXiv 2306.06342)::

    Σ_k Σ_i 1 / ((K + 1) n_k) · δ(s_ki)  +  1 / (K + 1) · δ(∞)

The coverage then holds for a new image *of a new source*. If each source has one image, this is the
quantile defined above.

**Limitations.** The guarantee assumes that new images and validation images are exchangeable. The
average is over images *and* over draws of the validation images. The guarantee does not hold

- for images that differ from the validation images in subject, size, format or compression;
- for images of unknown generators, whose true origin is in no set;
- if the block, encoders, hyperparameters or temperature were selected on the same validation
  images: sets are then too small, but only slightly if few candidates were compared;
- for a fusion that is fitted on images with sources: the scores are from heads fitted on the other
  folds (:mod:`whichgen.training.held_out`), not from the final head, so coverage is only
  approximate;
- if validation images are grouped (by prompt or video) without sources: the effective n is then
  smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whichgen.errors import FitError


@dataclass(frozen=True)
class ConformalQuantile:
    """Quantile of nonconformity scores, for :func:`compute_prediction_sets`.

    Parameters
    ----------
    value
        The quantile q, in [0, 1]; infinity if there are too few validation images (or sources of
        validation images), so that every prediction set contains all origins.
    notes
        A warning to show with the prediction sets if ``value`` is infinity; otherwise empty.
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


def compute_conformal_quantile(
    probabilities: np.ndarray,
    labels: np.ndarray,
    coverage: float = 0.9,
    sources: np.ndarray | None = None,
) -> ConformalQuantile:
    """Compute the quantile of the nonconformity scores of known validation images.

    Parameters
    ----------
    probabilities
        Probabilities in [0, 1]: float array (n, origins).
    labels
        Indices of true origins: int array (n,).
    coverage
        Target fraction of sets that contain the true origin, in (0, 1).
    sources
        Source of each image: array (n,) of integers or strings. By default, each image has a
        different source.

    Raises
    ------
    FitError
        ``coverage`` is not in (0, 1).
    """
    if not 0 < coverage < 1:
        raise FitError(f"the coverage must be greater than 0 and less than 1, got {coverage}.")
    n = len(labels)
    scores = 1 - np.asarray(probabilities, dtype=np.float64)[np.arange(n), labels]
    units = np.arange(n) if sources is None else np.unique(sources, return_inverse=True)[1]
    sizes = np.bincount(units)
    order = np.argsort(scores, kind="stable")
    mass = np.cumsum(1 / sizes[units[order]])
    # Without the tolerance, rounding errors could increase k: 0.55 · 100 > 55.
    k = int(np.searchsorted(mass, (len(sizes) + 1) * coverage - 1e-9))
    if k < n:
        return ConformalQuantile(float(scores[order[k]]))
    unit = "images" if sources is None else "sources"
    n_required = int(np.ceil(coverage / (1 - coverage) - 1e-9))
    return ConformalQuantile(
        float("inf"),
        (
            f"Too few validation {unit} for a coverage of {coverage:g}: {len(sizes)} instead of at "
            f"least {n_required}. Every prediction set contains all origins. Choose a lower "
            f"coverage, or train with more {unit}.",
        ),
    )


def compute_prediction_sets(probabilities: np.ndarray, quantile: ConformalQuantile) -> np.ndarray:
    """Compute the prediction set of each image; a set can be empty.

    Parameters
    ----------
    probabilities
        Probabilities in [0, 1]: float array (n, origins).
    quantile
        The result of :func:`compute_conformal_quantile`.

    Returns
    -------
    bool array (n, origins)
        Whether each origin is in the prediction set of each image.
    """
    return np.asarray(1 - np.asarray(probabilities, dtype=np.float64) <= quantile.value)


def compute_coverage_metrics(sets: np.ndarray, labels: np.ndarray) -> CoverageMetrics:
    """Compute the coverage and mean size of prediction sets.

    Parameters
    ----------
    sets
        The result of :func:`compute_prediction_sets`: bool array (n, origins), n at least 1.
    labels
        Indices of true origins: int array (n,).
    """
    return CoverageMetrics(
        coverage=float(sets[np.arange(len(labels)), labels].mean()),
        mean_size=float(sets.sum(axis=1).mean()),
    )
