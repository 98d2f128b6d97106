"""Bootstrap confidence intervals.

The test images are resampled with replacement (Efron & Tibshirani, 1993, chapter 13). Images from
one source, or of one group (the same prompt, scene or person), are not independent. They are
therefore resampled together, as a *unit*: a source or, without sources, a group. Without sources
and groups, each image is a unit. Resampling is stratified by origin: the number of units per
stratum is constant. Origins that share a unit are merged into one stratum.

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

from whichgen.defaults import RESAMPLES
from whichgen.evaluation.answer_metrics import AnswerMetrics
from whichgen.evaluation.headline_metrics import HeadlineMetrics
from whichgen.evaluation.predictions import Predictions

#: Confidence level of the intervals.
LEVEL = 0.95

#: Maximum number of float64 weights in memory. The metrics need about ten times this memory.
_MAX_WEIGHTS = 2**20


@dataclass(frozen=True)
class Interval:
    """Value of a metric on the test images, with its confidence interval at :data:`LEVEL`.

    Parameters
    ----------
    value
        Value of the metric on all test images, without resampling.
    low, high
        Bounds of the interval; NaN if the metric is undefined for every resample, or if every
        resample is the test set itself (:func:`bootstrap_intervals`).
    """

    value: float
    low: float
    high: float


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
    include the variation over its images. If this holds for all strata, for example with one source
    per origin, there are no intervals: their bounds are NaN.

    Parameters
    ----------
    known, unknown, origins, threshold
        Parameters of :class:`~whichgen.evaluation.headline_metrics.HeadlineMetrics`.
    answers
        The answers for the known and then the unknown images (:class:`AnswerMetrics`); ``None`` to
        omit the metrics of answers.
    resamples
        Number of bootstrap resamples, at least 1.
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
    metrics = BootstrapMetrics(known, unknown, origins, threshold, answers)
    resampled_metrics = resample_metrics(metrics, resample_weights(known, unknown, resamples, seed))
    return {
        name: Interval(value, *compute_percentile_bounds(resampled_metrics[name]))
        for name, value in metrics.values.items()
    }


class BootstrapMetrics:
    """Headline metrics and, if there are answers, answer metrics, as a function of image weights.

    Parameters
    ----------
    known, unknown, origins, threshold
        Parameters of :class:`~whichgen.evaluation.headline_metrics.HeadlineMetrics`.
    answers
        The answers for the known and then the unknown images; ``None`` to omit the metrics of
        answers (:class:`~whichgen.evaluation.answer_metrics.AnswerMetrics`).

    Raises
    ------
    DataError
        There is no known image, or a known image has an origin that is not in ``origins``.
    """

    def __init__(
        self,
        known: Predictions,
        unknown: Predictions,
        origins: Sequence[str],
        threshold: float | None = None,
        answers: Sequence[str] | None = None,
    ) -> None:
        self._parts: list[HeadlineMetrics | AnswerMetrics]
        self._parts = [HeadlineMetrics(known, unknown, origins, threshold)]
        if answers is not None:
            self._parts.append(AnswerMetrics(known, unknown, answers, origins))

    @property
    def values(self) -> dict[str, float]:
        """Metrics in [0, 1] by name, with equal weights; undefined (NaN) metrics are omitted."""
        values = (item for part in self._parts for item in part.values.items())
        return {name: value for name, value in values if not np.isnan(value)}

    def __call__(self, weights: np.ndarray, unknown_weights: np.ndarray) -> dict[str, np.ndarray]:
        """Compute each metric for each row of weights.

        Parameters
        ----------
        weights, unknown_weights
            Number of times each known and each unknown image counts: integers as float64 arrays
            (rows, n) and (rows, m).

        Returns
        -------
        dict
            Maps the name of each metric to a float64 array (rows,), in [0, 1] or NaN.
        """
        results = (part(weights, unknown_weights) for part in self._parts)
        return {name: values for result in results for name, values in result.items()}


def resample_weights(
    known: Predictions, unknown: Predictions, resamples: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw bootstrap resamples in chunks; an image's weight is the number of times it is drawn.

    Parameters
    ----------
    known, unknown
        Predictions for n known and m unknown images, n + m ≥ 1; only origins, sources and groups
        are used.
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
    named_parts = (("known", known), ("unknown", unknown))
    units = _index_keys(chain.from_iterable(_list_unit_names(*pair) for pair in named_parts))
    origins = _index_keys(
        (name, origin) for name, part in named_parts for origin in part.origins.tolist()
    )
    strata = _stratify(origins, units)
    # One random generator per stratum, so that the draws do not depend on the chunk size.
    generators = np.random.default_rng(seed).spawn(len(strata))
    step = max(1, _MAX_WEIGHTS // len(units))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        counts = np.zeros((rows, units.max() + 1))
        for members, rng in zip(strata, generators, strict=True):
            draws = rng.integers(0, len(members), (rows, len(members)))
            draws += np.arange(rows)[:, None] * len(members)
            draw_counts = np.bincount(draws.ravel(), minlength=draws.size)
            counts[:, members] = draw_counts.reshape(draws.shape)
        yield counts[:, units[: len(known)]], counts[:, units[len(known) :]]


def _list_unit_names(part_name: str, predictions: Predictions) -> list[Hashable]:
    """Return the unit of each image or, without sources and groups, a unique key for each image.

    ``part_name`` is ``known`` or ``unknown``; it is part of the unique keys.
    """
    if predictions.units is None:
        return [(part_name, i) for i in range(len(predictions))]
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


def resample_metrics(
    metrics: Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]],
    draws: Iterable[tuple[np.ndarray, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Compute the values of each metric for all resamples.

    Parameters
    ----------
    metrics
        Function that computes metrics, by name, from the weights of the known and of the unknown
        images.
    draws
        The weights from :func:`resample_weights`, at least one chunk.

    Returns
    -------
    dict
        Maps the name of each metric to a float64 array (resamples,). All values are NaN if every
        resample is the test set itself, for example because no stratum has more than one unit.
    """
    chunks, varies = [], False
    for weights in draws:
        varies = varies or any((part != 1).any() for part in weights)
        chunks.append(metrics(*weights))
    values = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return values if varies else {name: np.full_like(v, np.nan) for name, v in values.items()}


def compute_percentile_bounds(values: np.ndarray) -> tuple[float, float]:
    """Return the bounds of the percentile interval at :data:`LEVEL`.

    ``values`` is a float64 array (resamples,). NaN values are ignored; both bounds are NaN if there
    are no other values.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
