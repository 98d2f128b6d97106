"""Paired comparison of two methods on the same test images.

Both methods are evaluated on the same bootstrap resamples (Efron & Tibshirani, 1993, chapter 16;
:mod:`whichgen.evaluation.bootstrap`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from whichgen.defaults import RESAMPLES
from whichgen.errors import DataError
from whichgen.evaluation.answer_metrics import ANSWER_TITLES
from whichgen.evaluation.bootstrap import (
    BootstrapMetrics,
    compute_percentile_bounds,
    resample_metrics,
    resample_weights,
)
from whichgen.evaluation.headline_metrics import KEY_METRICS
from whichgen.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Comparison:
    """Difference of a metric between two methods on the same test images.

    Parameters
    ----------
    metric
        One of :data:`~whichgen.evaluation.headline_metrics.KEY_METRICS`, or a key of
        :data:`~whichgen.evaluation.answer_metrics.ANSWER_TITLES`.
    first, second
        Value of the metric for each method, in [0, 1].
    difference, low, high
        ``first`` minus ``second``, and the bounds of its confidence interval at the level
        :data:`whichgen.evaluation.bootstrap.LEVEL`. The bounds are NaN if the difference is
        undefined for every resample, or if every resample is the test set itself
        (:func:`~whichgen.evaluation.bootstrap.bootstrap_intervals`).
    p_value
        Two-sided p-value of the null hypothesis that the difference is zero. It is computed from
        the differences dᵦ of the B resamples for which both values are defined:
        ``min(1, 2 (min(#{dᵦ ≤ 0}, #{dᵦ ≥ 0}) + 1) / (B + 1))``. It is 1 if the bounds are NaN.
    mcnemar_p
        Two-sided p-value of the exact McNemar test (1947) of equal accuracy, which ignores groups;
        ``None`` for metrics other than ``accuracy``, and if the known images have sources.
    """

    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    mcnemar_p: float | None = None


def compare_predictions(
    first: tuple[Predictions, Predictions],
    second: tuple[Predictions, Predictions],
    origins: Sequence[str],
    *,
    answers: tuple[Sequence[str], Sequence[str]] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compare two methods on the same test images, with the same bootstrap resamples.

    Parameters
    ----------
    first, second
        Pairs (known, unknown): the predictions of each method, for the same images in the same
        order. The units of resampling are the sources or groups of ``first``.
    origins
        The known origins, in the order of the probabilities' columns.
    answers
        The answers of each method for the known and then the unknown images
        (:class:`~whichgen.evaluation.answer_metrics.AnswerMetrics`); ``None`` to omit the metrics
        of answers.
    resamples
        Number of bootstrap resamples, at least 1.
    seed
        Seed of the resampling.

    Returns
    -------
    dict
        Maps the name of each metric (:data:`~whichgen.evaluation.headline_metrics.KEY_METRICS`
        and, with answers, :data:`~whichgen.evaluation.answer_metrics.ANSWER_TITLES`) that is
        defined for both methods to its comparison.

    Raises
    ------
    DataError
        The true origins differ between the methods, there is no known image, or a known image has
        an origin that is not in ``origins``.
    """
    for a, b, part_name in zip(first, second, ("known", "unknown"), strict=True):
        if not np.array_equal(a.origins, b.origins):
            raise DataError(
                f"the two methods were not tested on the same {part_name} images: the true origins "
                "differ. Test both on the same images in the same order."
            )
    method_metrics = [
        BootstrapMetrics(*predictions, origins, answers=method_answers)
        for predictions, method_answers in zip(
            (first, second), answers or (None, None), strict=True
        )
    ]

    def subtract(weights: np.ndarray, unknown_weights: np.ndarray) -> dict[str, np.ndarray]:
        a, b = (metrics(weights, unknown_weights) for metrics in method_metrics)
        return {name: a[name] - b[name] for name in (*KEY_METRICS, *ANSWER_TITLES) if name in a}

    resampled_differences = resample_metrics(subtract, resample_weights(*first, resamples, seed))
    first_values, second_values = (metrics.values for metrics in method_metrics)
    return {
        name: Comparison(
            name,
            first_values[name],
            second_values[name],
            first_values[name] - second_values[name],
            *compute_percentile_bounds(differences),
            p_value=_compute_p_value(differences),
            mcnemar_p=(
                _compute_mcnemar_p(first[0], second[0], origins)
                if name == "accuracy" and first[0].sources is None
                else None
            ),
        )
        for name, differences in resampled_differences.items()
        if name in first_values and name in second_values
    }


def _compute_p_value(differences: np.ndarray) -> float:
    defined = differences[~np.isnan(differences)]
    n_smaller_tail = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (n_smaller_tail + 1) / (len(defined) + 1))


def _compute_mcnemar_p(first: Predictions, second: Predictions, origins: Sequence[str]) -> float:
    first_correct, second_correct = first.is_correct(origins), second.is_correct(origins)
    n_gained = int((first_correct & ~second_correct).sum())
    n_lost = int((second_correct & ~first_correct).sum())
    return float(binomtest(n_gained, n_gained + n_lost).pvalue) if n_gained + n_lost else 1.0
