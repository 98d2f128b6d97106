"""Sets of origins that hold the true one as often as asked: split conformal prediction.

Each origin j gets a score s(x, j), high where it does not fit. On n known validation images, with
y their true origin, the k-th smallest s(x, y) is the quantile q, and the set of a new image is
``{j: s(x, j) ≤ q}`` (Vovk, Gammerman & Shafer, 2005)::

    k = ⌈(n + 1) · coverage⌉,    P(y ∈ set) ≥ coverage

``lac``
    s(x, j) = 1 − pⱼ(x) (Sadinle, Lei & Wasserman, 2019): the smallest sets on average. Hard images
    get less than the coverage, and some an empty set, which is an answer, too: like none of them.
``aps``
    s(x, j) = the sum of all probabilities down to pⱼ (Romano, Sesia & Candès, 2020, without their
    randomization, so that an image always gets the same set): larger sets, nearer to the coverage
    on easy and on hard images alike.

**When the guarantee does not hold.** It is for a new image that could as well have been one of the
validation images (exchangeable), on average over images *and* over draws of the validation images.
So it does not hold

- for images unlike the validation images: other subjects, sizes, formats, or re-compressed;
- for an unknown generator, whose true origin is in no set;
- where block, hyperparameter, temperature or stopping were chosen on these validation images: sets
  are too small then, by little where few things were tried. Keep images apart for the quantile;
- as written where validation images come in groups (a prompt, a video): n counts for less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whichgen.errors import FitError

#: The scores there are; the first is the default.
SCORES = ("lac", "aps")


@dataclass(frozen=True)
class ConformalQuantile:
    """What :func:`prediction_sets` needs.

    Parameters
    ----------
    score, coverage, by_origin
        As asked of :func:`conformal_quantile`.
    values
        The quantile of each origin, all equal unless ``by_origin``; infinite, so that the origin is
        in every set, where there were too few images.
    images
        The validation images behind each origin's value.
    notes
        Sentences that belong beside every set: where there were too few images.
    """

    score: str
    coverage: float
    by_origin: bool
    values: tuple[float, ...]
    images: tuple[int, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CoverageMetrics:
    """The result of :func:`coverage_metrics`; shares in [0, 1].

    ``coverage`` is the share of sets that hold the true origin, ``mean_size`` the mean number of
    origins in a set, ``empty`` and ``singleton`` the shares of sets of none and of one;
    ``by_origin`` is the coverage of each true origin's images, NaN for one without images.
    """

    coverage: float
    mean_size: float
    empty: float
    singleton: float
    by_origin: tuple[float, ...]


def conformal_quantile(
    probabilities: np.ndarray,
    labels: np.ndarray,
    coverage: float = 0.9,
    *,
    score: str = "lac",
    by_origin: bool = False,
) -> ConformalQuantile:
    """The quantile of known validation images that were used for nothing else.

    Parameters
    ----------
    probabilities
        float array (n, origins).
    labels
        Indices of true origins: int array (n,).
    coverage
        Share of sets that are to hold the true origin, in (0, 1).
    score
        One of :data:`SCORES`.
    by_origin
        A quantile for each origin (Mondrian): the guarantee holds for each origin's images, not
        only on average, at the price of larger sets. Each origin needs enough images of its own.

    Raises
    ------
    FitError
        ``coverage`` is out of range, or ``score`` is none of :data:`SCORES`.
    """
    if not 0 < coverage < 1:
        raise FitError(f"the coverage must be over 0 and under 1, got {coverage}.")
    if score not in SCORES:
        raise FitError(f"unknown conformal score {score!r}; there are {', '.join(SCORES)}.")
    n_origins = probabilities.shape[1]
    own = _scores(probabilities, score)[np.arange(len(labels)), labels]
    if by_origin:
        of_each = [own[labels == j] for j in range(n_origins)]
        notes = [
            f"origin number {j} has {len(scores)} validation images, too few for a coverage of "
            f"{coverage:g}: it is in every set. {_needed(coverage)} are needed."
            for j, scores in enumerate(of_each)
            if np.isinf(_quantile(scores, coverage))
        ]
    else:
        of_each = [own] * n_origins
        notes = [
            f"{len(own)} validation images are too few for a coverage of {coverage:g}: every set "
            f"holds all origins. {_needed(coverage)} are needed."
        ] * int(np.isinf(_quantile(own, coverage)))
    return ConformalQuantile(
        score=score,
        coverage=coverage,
        by_origin=by_origin,
        values=tuple(_quantile(scores, coverage) for scores in of_each),
        images=tuple(len(scores) for scores in of_each),
        notes=tuple(notes),
    )


def prediction_sets(probabilities: np.ndarray, quantile: ConformalQuantile) -> np.ndarray:
    """Whether each origin is in each image's set: probabilities (n, origins) → bool (n, origins).

    Sets can be empty.
    """
    return np.asarray(_scores(probabilities, quantile.score) <= np.array(quantile.values))


def coverage_metrics(sets: np.ndarray, labels: np.ndarray) -> CoverageMetrics:
    """How sets (n, origins) hold the true origins ``labels`` (n,), n at least 1."""
    held = sets[np.arange(len(labels)), labels]
    sizes = sets.sum(axis=1)
    return CoverageMetrics(
        coverage=float(held.mean()),
        mean_size=float(sizes.mean()),
        empty=float((sizes == 0).mean()),
        singleton=float((sizes == 1).mean()),
        by_origin=tuple(
            float(held[labels == j].mean()) if (labels == j).any() else float("nan")
            for j in range(sets.shape[1])
        ),
    )


def _scores(probabilities: np.ndarray, score: str) -> np.ndarray:
    """The score of each origin: float64 (n, origins)."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if score == "lac":
        return 1 - probabilities
    order = np.argsort(-probabilities, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(probabilities, order, axis=1), axis=1)
    scores = np.empty_like(sums)
    np.put_along_axis(scores, order, sums, axis=1)
    return scores


def _quantile(scores: np.ndarray, coverage: float) -> float:
    # The tolerance keeps e.g. 0.95 · 100 from becoming 96 by rounding.
    k = int(np.ceil((len(scores) + 1) * coverage - 1e-9))
    return float(np.sort(scores)[k - 1]) if k <= len(scores) else float("inf")


def _needed(coverage: float) -> int:
    """The least n of which ⌈(n + 1) · coverage⌉ is at most n."""
    return int(np.ceil(coverage / (1 - coverage) - 1e-9))
