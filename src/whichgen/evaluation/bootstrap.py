"""Bootstrap confidence intervals, and paired comparison of two methods.

The test images are resampled B times with replacement (Efron & Tibshirani, 1993, chapters 13 and
16). Images of one source, or with the same content, are not independent, whether their origins are
known or unknown. They are resampled together, as a *unit*: a source or, without sources, a group of
images with the same content. Without groups, each image is a unit. Resampling is stratified by
origin, so that each origin keeps its number of units. Origins that share a unit are merged into one
stratum, which keeps its total number of units.

The intervals cover the variation of a metric over test images, but not over fits, splits or unknown
generators.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import binomtest

from whichgen.defaults import RESAMPLES
from whichgen.errors import DataError
from whichgen.evaluation.answer_metrics import AnswerMetrics
from whichgen.evaluation.headline_metrics import KEY_METRICS, HeadlineMetrics
from whichgen.evaluation.predictions import Predictions

#: Confidence level of the intervals.
LEVEL = 0.95

#: Maximum number of weights in memory; the metrics need about ten times their 8 bytes.
_MAX_WEIGHTS = 2**20


@dataclass(frozen=True)
class Interval:
    """Value of a metric on the test images, with its confidence interval at :data:`LEVEL`.

    Parameters
    ----------
    value
        Value of the metric on all test images, without resampling.
    low, high
        Bounds of the interval; NaN if the metric is undefined for every resample.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Difference of a metric between two methods on the same test images.

    Parameters
    ----------
    metric
        One of :data:`~whichgen.evaluation.headline_metrics.KEY_METRICS`.
    first, second
        Value of the metric for each method.
    difference, low, high
        ``first`` minus ``second``, and the bounds of its confidence interval at :data:`LEVEL`; the
        bounds are NaN if the difference is undefined for every resample.
    p_value
        Two-sided p-value of the null hypothesis that the difference is zero. Computed from the
        differences dᵦ of the B resamples for which the metric is defined:
        ``min(1, 2 (min(#{dᵦ ≤ 0}, #{dᵦ ≥ 0}) + 1) / (B + 1))``.
    mcnemar_p
        Two-sided p-value of the exact McNemar test (1947) of equal accuracy, which ignores groups;
        ``None`` for metrics other than ``accuracy``, and if the images have sources.
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
    answers: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Compute the confidence interval of each headline metric and answer metric.

    If a stratum contains a single unit, that unit is in every resample, and the intervals do not
    include the variation over its images.

    Parameters
    ----------
    known, unknown, origins, threshold
        Parameters of :class:`HeadlineMetrics`.
    answers
        The answers for the known and then the unknown images (:class:`AnswerMetrics`); ``None`` to
        omit the metrics of answers.
    resamples
        Number of bootstrap resamples.
    seed
        Seed of the resampling.

    Returns
    -------
    dict
        Maps the name of each metric that is defined for the test images to its interval.

    Raises
    ------
    DataError
        There is no known image, or a known image has an origin that is not in ``origins``.
    """
    metrics: list[HeadlineMetrics | AnswerMetrics]
    metrics = [HeadlineMetrics(known, unknown, origins, threshold)]
    if answers is not None:
        metrics.append(AnswerMetrics(known, unknown, answers, origins))

    def compute(weights: np.ndarray, unknown_weights: np.ndarray) -> dict[str, np.ndarray]:
        results = (metric(weights, unknown_weights) for metric in metrics)
        return {name: values for result in results for name, values in result.items()}

    resampled = _resample(compute, resample_weights(known, unknown, resamples, seed))
    return {
        name: Interval(value, *_bounds(resampled[name]))
        for metric in metrics
        for name, value in metric.values.items()
        if not np.isnan(value)
    }


def compare_predictions(
    first: tuple[Predictions, Predictions],
    second: tuple[Predictions, Predictions],
    origins: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compare two methods on the same test images, with the same bootstrap resamples.

    Parameters
    ----------
    first, second
        Pairs (known, unknown): the predictions of each method, for the same images in the same
        order. The sources or groups of ``first`` are used.
    origins
        The known origins, in the order of the probabilities' columns.
    resamples
        Number of bootstrap resamples.
    seed
        Seed of the resampling.

    Returns
    -------
    dict
        Maps each of :data:`~whichgen.evaluation.headline_metrics.KEY_METRICS` that is defined for
        the test images to its comparison.

    Raises
    ------
    DataError
        The true origins differ between the methods, there is no known image, or a known image has
        an origin that is not in ``origins``.
    """
    for a, b, which in zip(first, second, ("known", "unknown"), strict=True):
        if not np.array_equal(a.origins, b.origins):
            raise DataError(
                f"the two methods were not tested on the same {which} images: the true origins "
                "differ. Test both on the same images in the same order."
            )
    both = [HeadlineMetrics(*predictions, origins) for predictions in (first, second)]

    def difference(weights: np.ndarray, unknown_weights: np.ndarray) -> dict[str, np.ndarray]:
        a, b = (metrics(weights, unknown_weights) for metrics in both)
        return {name: a[name] - b[name] for name in KEY_METRICS}

    resampled = _resample(difference, resample_weights(*first, resamples, seed))
    first_values, second_values = (metrics.values for metrics in both)
    return {
        name: Comparison(
            name,
            first_values[name],
            second_values[name],
            first_values[name] - second_values[name],
            *_bounds(differences),
            p_value=_p_value(differences),
            mcnemar_p=(
                _mcnemar(first[0], second[0], origins)
                if name == "accuracy" and first[0].sources is None
                else None
            ),
        )
        for name, differences in resampled.items()
        if name in first_values
    }


def resample_weights(
    known: Predictions, unknown: Predictions, resamples: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw bootstrap resamples in chunks; an image's weight is the number of times it is drawn.

    Parameters
    ----------
    known, unknown
        Predictions for n known and m unknown images; only origins, sources and groups are used.
    resamples
        Number of bootstrap resamples.
    seed
        Seed of the resampling.

    Yields
    ------
    known, unknown
        Integer weights as float64 arrays (b, n) and (b, m), for a chunk of b resamples. The chunk
        sizes add up to ``resamples``.
    """
    halves = (("known", known), ("unknown", unknown))
    units = _index_keys(chain.from_iterable(_unit_names(*half) for half in halves))
    origins = _index_keys(
        (which, origin) for which, part in halves for origin in part.origins.tolist()
    )
    strata = _stratify(origins, units)
    # One generator per stratum, so that the draws do not depend on the size of a chunk.
    generators = np.random.default_rng(seed).spawn(len(strata))
    step = max(1, _MAX_WEIGHTS // len(units))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        counts = np.zeros((rows, units.max() + 1))
        for members, rng in zip(strata, generators, strict=True):
            draws = rng.integers(0, len(members), (rows, len(members)))
            draws += np.arange(rows)[:, None] * len(members)
            drawn = np.bincount(draws.ravel(), minlength=draws.size)
            counts[:, members] = drawn.reshape(draws.shape)
        yield counts[:, units[: len(known)]], counts[:, units[len(known) :]]


def _unit_names(which: str, predictions: Predictions) -> list[Hashable]:
    """Return the unit of each image or, without sources and groups, a unique key for each image.

    ``which`` (``known`` or ``unknown``) is part of the unique keys.
    """
    if predictions.units is None:
        return [(which, i) for i in range(len(predictions))]
    return list(predictions.units.tolist())


def _index_keys(keys: Iterable[Hashable]) -> np.ndarray:
    """Number the distinct keys in order of first occurrence; return the number of each key.

    The result is an int64 array (n,) for n keys, which need not be distinct.
    """
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _stratify(origins: np.ndarray, units: np.ndarray) -> list[np.ndarray]:
    """Partition the units into strata.

    Strata are the connected components of the graph that links each unit to the origins of its
    images.

    Parameters
    ----------
    origins, units
        Index of the origin and of the unit of each image: int64 arrays (n,).

    Returns
    -------
    list of int64 array
        Unit indices of each stratum. The strata are sorted by their largest origin index.
    """
    n_units = units.max() + 1
    size = n_units + origins.max() + 1
    links = coo_array((np.ones(len(units)), (units, n_units + origins)), shape=(size, size))
    components = connected_components(links, directed=False)[1]
    last_first = dict.fromkeys(components[n_units:][::-1].tolist())
    return [np.flatnonzero(components[:n_units] == stratum) for stratum in [*last_first][::-1]]


def _resample(
    metrics: Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]],
    draws: Iterable[tuple[np.ndarray, np.ndarray]],
) -> dict[str, np.ndarray]:
    chunks = [metrics(*weights) for weights in draws]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _bounds(values: np.ndarray) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
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
