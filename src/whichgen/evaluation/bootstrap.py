"""Confidence intervals: percentile bootstrap, and paired comparison of two methods.

Images are drawn with replacement, B times (Efron & Tibshirani, 1993, chapters 13 and 16). What is
drawn together is a *group*: the images of one content, of known and unknown origins alike, because
they are not independent; without groups each image is its own. Each origin keeps its number of
groups: draws are stratified by origin, and origins that share a group form one stratum.

The intervals say how a metric varies with the test images. They do not say what another fit,
another split or other unknown generators would give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import binomtest

from whichgen.errors import DataError
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.resampled_metrics import ResampledMetrics

#: Bootstrap resamples of a confidence interval or a paired comparison.
RESAMPLES = 1000

#: Metrics that two methods are compared by; the last three need unknown images.
COMPARED_METRICS = ("accuracy", "macro_f1", "auroc", "oscr", "tnr_at_tpr95")

#: Number of weights held at a time; what is computed from them takes some ten times their 8 bytes.
_MAX_WEIGHTS = 2**20


@dataclass(frozen=True)
class Interval:
    """A metric of the images as they are, and the bounds of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A metric of one method minus that of another, on the same images.

    Parameters
    ----------
    first, second
        The metric of either method.
    difference, low, high
        First minus second, with the bounds of its confidence interval.
    p_value
        Two-sided, for "no difference", from the resampled differences dᵦ:
        ``min(1, 2 (min(#{dᵦ ≤ 0}, #{dᵦ ≥ 0}) + 1) / (B + 1))``.
    mcnemar_p
        For ``accuracy`` the exact test of McNemar (1947), which treats images as independent
        whatever the groups are; otherwise ``None``.
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
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Compute the interval of every available headline metric.

    Parameters
    ----------
    known, unknown
        Predictions for test images of known and of unknown origins; ``unknown`` may be empty.
    origins
        The known origins, in the order of the probabilities' columns.
    threshold
        Images with a score below it are answered ``unknown``; without it there are no metrics at a
        threshold.
    groups_known, groups_unknown
        The content of each image: str arrays (n,) and (m,); one name in both is one group. An
        origin whose images are all of one group never varies, so its part of the interval is
        missing.
    level
        Share of resamples inside the interval, in (0, 1).

    Raises
    ------
    DataError
        There is no known image, a true origin is not in ``origins``, groups have another length, or
        ``resamples`` or ``level`` is out of range.
    """
    metrics = ResampledMetrics(known, unknown, origins, threshold)
    values = _to_floats(metrics())
    draws = resample_weights(
        known.origins, unknown.origins, groups_known, groups_unknown, resamples=resamples, seed=seed
    )
    resampled = _resample(metrics, draws)
    return {
        name: Interval(value, *_bounds(resampled[name], level)) for name, value in values.items()
    }


def compare_predictions(
    first: tuple[Predictions, Predictions],
    second: tuple[Predictions, Predictions],
    origins: Sequence[str],
    *,
    groups_known: np.ndarray | None = None,
    groups_unknown: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compare two methods on the same images in the same order, with the same resamples.

    ``first`` and ``second`` are predictions for known and for unknown images; the other parameters
    are those of :func:`bootstrap_intervals`. The metrics are :data:`COMPARED_METRICS`.

    Raises
    ------
    DataError
        The true origins of the two differ, or as :func:`bootstrap_intervals`.
    """
    for a, b, which in zip(first, second, ("known", "unknown"), strict=True):
        if not np.array_equal(a.origins, b.origins):
            raise DataError(
                f"the two methods were not tested on the same {which} images: their true origins "
                "differ. Give both the same images in the same order."
            )
    both = [ResampledMetrics(*predictions, origins) for predictions in (first, second)]
    first_metrics, second_metrics = (_to_floats(metrics()) for metrics in both)

    def difference(weights: np.ndarray, unknown_weights: np.ndarray) -> dict[str, np.ndarray]:
        a, b = (metrics(weights, unknown_weights) for metrics in both)
        return {name: a[name] - b[name] for name in a}

    draws = resample_weights(
        first[0].origins,
        first[1].origins,
        groups_known,
        groups_unknown,
        resamples=resamples,
        seed=seed,
    )
    resampled = _resample(difference, draws)
    return {
        name: Comparison(
            name,
            first_metrics[name],
            second_metrics[name],
            first_metrics[name] - second_metrics[name],
            *_bounds(resampled[name], level),
            p_value=_p_value(resampled[name]),
            mcnemar_p=_mcnemar(first[0], second[0], origins) if name == "accuracy" else None,
        )
        for name in COMPARED_METRICS
        if name in first_metrics
    }


def resample_weights(
    known: np.ndarray,
    unknown: np.ndarray,
    groups_known: np.ndarray | None = None,
    groups_unknown: np.ndarray | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw how often each image is in each resample, a chunk of resamples at a time.

    Parameters
    ----------
    known, unknown
        True origins: str arrays (n,) and (m,).
    groups_known, groups_unknown
        See :func:`bootstrap_intervals`.

    Yields
    ------
    known, unknown
        Whole numbers as float64 arrays (b, n) and (b, m). All b add up to ``resamples``.
    """
    if resamples < 1:
        raise DataError(f"at least one resample is needed, got {resamples}.")
    groups = _number_groups(len(known), groups_known, len(unknown), groups_unknown)
    strata = _stratify(np.concatenate([known, unknown]), len(known), groups)
    # One generator per stratum, so that the draws do not depend on the size of a chunk.
    generators = np.random.default_rng(seed).spawn(len(strata))
    step = max(1, _MAX_WEIGHTS // max(1, len(groups)))
    n_groups = int(groups.max(initial=-1)) + 1
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        counts = np.zeros((rows, n_groups))
        for members, rng in zip(strata, generators, strict=True):
            draws = rng.integers(0, len(members), (rows, len(members)))
            draws += np.arange(rows)[:, None] * len(members)
            counts[:, members] = np.bincount(draws.ravel(), minlength=rows * len(members)).reshape(
                rows, len(members)
            )
        yield counts[:, groups[: len(known)]], counts[:, groups[len(known) :]]


def _number_groups(
    n: int, known: np.ndarray | None, m: int, unknown: np.ndarray | None
) -> np.ndarray:
    """Number the group of each image, known images first: int64 (n + m,)."""
    names: list[tuple[str, str | int]] = []
    for size, groups, which in ((n, known, "known"), (m, unknown, "unknown")):
        if groups is None:
            names += [(which, i) for i in range(size)]
        elif len(groups) == size:
            names += [("", str(group)) for group in groups.tolist()]
        else:
            raise DataError(f"{len(groups)} groups for {size} {which} images: one each is needed.")
    numbers: dict[tuple[str, str | int], int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _stratify(origins: np.ndarray, n_known: int, groups: np.ndarray) -> list[np.ndarray]:
    """Split groups into strata, the connected components of groups and the origins they occur in.

    Returns int64 arrays of group numbers, ordered by the last origin that occurs in the stratum.
    """
    n_groups = int(groups.max(initial=-1)) + 1
    nodes: dict[tuple[str, bool], int] = {}
    keys = zip(origins.tolist(), (np.arange(len(origins)) < n_known).tolist(), strict=True)
    columns = np.array([nodes.setdefault(key, len(nodes)) for key in keys], dtype=np.int64)
    size = n_groups + len(nodes)
    links = coo_array((np.ones(len(groups)), (groups, n_groups + columns)), shape=(size, size))
    components = connected_components(links, directed=False)[1]
    last_first = dict.fromkeys(components[n_groups:][::-1].tolist())
    return [np.flatnonzero(components[:n_groups] == stratum) for stratum in [*last_first][::-1]]


def _to_floats(metrics: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(values[0]) for name, values in metrics.items()}


def _resample(
    metrics: Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]],
    draws: Iterator[tuple[np.ndarray, np.ndarray]],
) -> dict[str, np.ndarray]:
    chunks = [metrics(*weights) for weights in draws]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _bounds(values: np.ndarray, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise DataError(f"the confidence level must be over 0 and under 1, got {level}.")
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _p_value(differences: np.ndarray) -> float:
    defined = differences[~np.isnan(differences)]
    fewer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (fewer + 1) / (len(defined) + 1))


def _mcnemar(first: Predictions, second: Predictions, origins: Sequence[str]) -> float:
    first_correct, second_correct = first.is_correct(origins), second.is_correct(origins)
    gained = int((first_correct & ~second_correct).sum())
    lost = int((second_correct & ~first_correct).sum())
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
