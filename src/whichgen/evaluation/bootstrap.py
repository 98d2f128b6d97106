"""How sure a figure is: percentile bootstrap intervals, and two methods compared in pairs.

Images are drawn with replacement, B times (Efron & Tibshirani, 1993, chapters 13 and 16). What is
drawn as one is a *group*: the images of one content, of known and of unknown origins together,
because they are not independent; without groups every image is one. Each origin keeps its number of
groups: draws are stratified by origin, origins that share a group forming one stratum.

Figures of resamples are those of :mod:`whichgen.evaluation.weighted`.

The intervals say how figures vary with the images tested. They say nothing of what another fit,
another split or other unknown generators would give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from whichgen.data.duplicates import find_components
from whichgen.errors import DataError
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.weighted import Weighted, weighted_metrics

#: What two methods are compared by, the last three where there are unknown images.
COMPARED = ("accuracy", "macro_f1", "auroc", "oscr", "tnr_at_tpr95")

#: So many weights are held at a time; what is computed of them takes some ten times their 8 bytes.
_CELLS = 2**20


@dataclass(frozen=True)
class Interval:
    """A figure of the images as they are, and the bounds of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A figure of one method less that of another, on the same images.

    Parameters
    ----------
    first, second
        The figure of either.
    difference, low, high
        First less second, with the bounds of its confidence interval.
    p_value
        Two-sided, of "no difference", from the resampled differences dᵦ:
        ``min(1, 2 (min(#{dᵦ ≤ 0}, #{dᵦ ≥ 0}) + 1) / (B + 1))``.
    mcnemar_p
        For ``accuracy`` the exact test of McNemar (1947), which takes every image for independent
        whatever the groups are; else ``None``.
    """

    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    mcnemar_p: float | None = None


def bootstrap_intervals(
    known: Predictions,
    unknown: Predictions,
    origins: Sequence[str],
    *,
    threshold: float | None = None,
    groups_known: np.ndarray | None = None,
    groups_unknown: np.ndarray | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """The interval of every figure that there is (:mod:`whichgen.evaluation.weighted`).

    Parameters
    ----------
    known, unknown
        Answers about test images of known and of unknown origins; ``unknown`` may be empty.
    origins
        The known origins, in the order of the probabilities' columns.
    threshold
        Scores below it are answered ``unknown``; left out, there are no figures of that.
    groups_known, groups_unknown
        What each image shows: str arrays (n,) and (m,); one name in both is one group. An origin
        whose images are all of one group never varies, so its part in the interval is missing.
    level
        Share of resamples inside the interval, in (0, 1).

    Raises
    ------
    DataError
        No known image, a true origin of them not in ``origins``, groups of another length, or
        ``resamples`` or ``level`` out of range.
    """
    tails = _tails(level)
    metrics = weighted_metrics(known, unknown, origins, threshold=threshold)
    values = _ones(metrics, known, unknown)
    drawn = _gather(
        metrics(*weights)
        for weights in resample_weights(
            known.origins,
            unknown.origins,
            groups_known,
            groups_unknown,
            resamples=resamples,
            seed=seed,
        )
    )
    return {name: Interval(value, *_bounds(drawn[name], tails)) for name, value in values.items()}


def compare_predictions(
    first: tuple[Predictions, Predictions],
    second: tuple[Predictions, Predictions],
    origins: Sequence[str],
    *,
    groups_known: np.ndarray | None = None,
    groups_unknown: np.ndarray | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Two methods on the same images in the same order, by the same resamples.

    ``first`` and ``second`` are answers about known and about unknown images; all else is as in
    :func:`bootstrap`. The figures are those of :data:`COMPARED`.

    Raises
    ------
    DataError
        The true origins of the two differ, or as :func:`bootstrap`.
    """
    tails = _tails(level)
    for a, b, which in zip(first, second, ("known", "unknown"), strict=True):
        if not np.array_equal(a.origins, b.origins):
            raise DataError(
                f"the two methods were not tested on the same {which} images: their true origins "
                "differ. Give both the same images in the same order."
            )
    both = [weighted_metrics(*answers, origins) for answers in (first, second)]
    values = [
        _ones(metrics, *answers) for metrics, answers in zip(both, (first, second), strict=True)
    ]

    def differences(weights: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
        ours, theirs = (metrics(*weights) for metrics in both)
        return {name: ours[name] - theirs[name] for name in ours}

    drawn = _gather(
        differences(weights)
        for weights in resample_weights(
            first[0].origins,
            first[1].origins,
            groups_known,
            groups_unknown,
            resamples=resamples,
            seed=seed,
        )
    )
    return {
        name: Comparison(
            name,
            values[0][name],
            values[1][name],
            values[0][name] - values[1][name],
            *_bounds(drawn[name], tails),
            p_value=_p_value(drawn[name]),
            mcnemar_p=_mcnemar(first[0], second[0], origins) if name == "accuracy" else None,
        )
        for name in COMPARED
        if name in values[0]
    }


def resample_weights(
    known: np.ndarray,
    unknown: np.ndarray,
    groups_known: np.ndarray | None = None,
    groups_unknown: np.ndarray | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """How often each image is in each resample, some resamples at a time.

    Parameters
    ----------
    known, unknown
        True origins: str arrays (n,) and (m,).
    groups_known, groups_unknown
        See :func:`bootstrap`.

    Yields
    ------
    known, unknown
        Whole numbers as float64 arrays (b, n) and (b, m). All b add up to ``resamples``.
    """
    if resamples < 1:
        raise DataError(f"at least one resample is needed, got {resamples}.")
    groups = _group_numbers(len(known), groups_known, len(unknown), groups_unknown)
    strata = _strata(np.concatenate([known, unknown]), len(known), groups)
    # A generator for each stratum, so that what is drawn does not depend on how many at a time.
    generators = np.random.default_rng(seed).spawn(len(strata))
    step = max(1, _CELLS // max(1, len(groups)))
    n_groups = int(groups.max(initial=-1)) + 1
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        counts = np.zeros((rows, n_groups))
        for members, rng in zip(strata, generators, strict=True):
            drawn = rng.integers(0, len(members), (rows, len(members)))
            drawn += np.arange(rows)[:, None] * len(members)
            counts[:, members] = np.bincount(drawn.ravel(), minlength=rows * len(members)).reshape(
                rows, len(members)
            )
        yield counts[:, groups[: len(known)]], counts[:, groups[len(known) :]]


def _group_numbers(
    n: int, known: np.ndarray | None, m: int, unknown: np.ndarray | None
) -> np.ndarray:
    """The number of each image's group, known ones first: int64 (n + m,)."""
    names: list[tuple[str, str | int]] = []
    for size, groups, which in ((n, known, "known"), (m, unknown, "unknown")):
        if groups is not None and len(groups) != size:
            raise DataError(f"{len(groups)} groups for {size} {which} images: one each is needed.")
        names += (
            [(which, i) for i in range(size)]
            if groups is None
            else [("", str(group)) for group in groups.tolist()]
        )
    numbers: dict[tuple[str, str | int], int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _strata(origins: np.ndarray, n_known: int, groups: np.ndarray) -> list[np.ndarray]:
    """Groups of origins that share any, linked: int64 arrays of group numbers."""
    n_groups = int(groups.max(initial=-1)) + 1
    is_known = np.arange(len(origins)) < n_known
    node: dict[tuple[str, bool], int] = {}
    nodes = [
        node.setdefault(key, n_groups + len(node))
        for key in zip(origins.tolist(), is_known.tolist(), strict=True)
    ]
    linked = find_components(n_groups + len(node), zip(groups.tolist(), nodes, strict=True))[
        :n_groups
    ]
    return [np.flatnonzero(linked == stratum) for stratum in np.unique(linked)]


def _ones(metrics: Weighted, known: Predictions, unknown: Predictions) -> dict[str, float]:
    found = metrics(np.ones((1, len(known.origins))), np.ones((1, len(unknown.origins))))
    return {name: float(values[0]) for name, values in found.items()}


def _gather(chunks: Iterator[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    found = list(chunks)
    return {name: np.concatenate([chunk[name] for chunk in found]) for name in found[0]}


def _tails(level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise DataError(f"the confidence level must be over 0 and under 1, got {level}.")
    return (1 - level) / 2, (1 + level) / 2


def _bounds(drawn: np.ndarray, tails: tuple[float, float]) -> tuple[float, float]:
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, tails)
    return float(low), float(high)


def _p_value(drawn: np.ndarray) -> float:
    defined = drawn[~np.isnan(drawn)]
    fewer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (fewer + 1) / (len(defined) + 1))


def _mcnemar(first: Predictions, second: Predictions, origins: Sequence[str]) -> float:
    labels = first.labels(origins)
    ours, theirs = first.predicted == labels, second.predicted == labels
    gained, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
