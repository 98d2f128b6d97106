"""Detection metrics, compared with brute-force definitions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from whichgen.evaluation.unknown_detection import (
    compute_auroc,
    compute_detection_metrics,
    compute_roc_curve,
)

scores = st.one_of(
    st.lists(st.integers(0, 6), min_size=1, max_size=25),  # ties
    st.lists(st.floats(0, 1), min_size=1, max_size=25),
).map(lambda values: np.array(values, dtype=np.float64))


def _thresholds(known: np.ndarray, unknown: np.ndarray) -> list[float]:
    """List all distinct thresholds in descending order; the first accepts nothing."""
    return [np.inf, *sorted({*known.tolist(), *unknown.tolist()}, reverse=True)]


def _rate(values: np.ndarray, threshold: float) -> float:
    return sum(v >= threshold for v in values.tolist()) / len(values)


def _aupr(positive: np.ndarray, negative: np.ndarray) -> float:
    """Sum trapezoids under precision over recall, starting at recall 0 and precision 1."""
    points = [(0.0, 1.0)]
    for threshold in _thresholds(positive, negative)[1:]:
        true = sum(v >= threshold for v in positive.tolist())
        false = sum(v >= threshold for v in negative.tolist())
        points.append((true / len(positive), true / (true + false)))
    return sum((right[0] - left[0]) * (left[1] + right[1]) / 2 for left, right in pairwise(points))


@given(known=scores, unknown=scores)
def test_auroc_is_the_share_of_pairs_in_order_with_ties_half(
    known: np.ndarray, unknown: np.ndarray
) -> None:
    pairs = [(k > u) + (k == u) / 2 for k in known.tolist() for u in unknown.tolist()]
    truth = [1] * len(known) + [0] * len(unknown)
    area = compute_auroc(known, unknown)
    assert area == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    assert area == pytest.approx(roc_auc_score(truth, [*known, *unknown]), abs=1e-12)
    assert area == pytest.approx(1 - compute_auroc(unknown, known), abs=1e-12)


@given(known=scores, unknown=scores)
def test_tnr_at_tpr95_is_at_the_highest_threshold_accepting_95_percent(
    known: np.ndarray, unknown: np.ndarray
) -> None:
    threshold = next(
        t
        for t in _thresholds(known, unknown)
        if 100 * sum(k >= t for k in known.tolist()) >= 95 * len(known)
    )
    expected = 1 - _rate(unknown, threshold)
    assert compute_detection_metrics(known, unknown).tnr_at_tpr95 == pytest.approx(
        expected, abs=1e-12
    )


@given(known=scores, unknown=scores)
def test_detection_accuracy_is_the_best_mean_of_both_rates(
    known: np.ndarray, unknown: np.ndarray
) -> None:
    expected = max(
        (_rate(known, t) + 1 - _rate(unknown, t)) / 2 for t in _thresholds(known, unknown)
    )
    accuracy = compute_detection_metrics(known, unknown).detection_accuracy
    assert accuracy == pytest.approx(expected, abs=1e-12)
    assert accuracy >= 0.5


@given(known=scores, unknown=scores)
def test_auin_and_auout_are_areas_under_precision_and_recall(
    known: np.ndarray, unknown: np.ndarray
) -> None:
    metrics = compute_detection_metrics(known, unknown)
    assert metrics.auin == pytest.approx(_aupr(known, unknown), abs=1e-12)
    assert metrics.auout == pytest.approx(_aupr(-unknown, -known), abs=1e-12)


@given(known=scores, unknown=scores)
def test_roc_curve_has_the_rates_at_descending_thresholds(
    known: np.ndarray, unknown: np.ndarray
) -> None:
    fpr, tpr = compute_roc_curve(known, unknown)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    expected = {
        (round(_rate(unknown, t), 9), round(_rate(known, t), 9))
        for t in _thresholds(known, unknown)
    }
    assert {(round(f, 9), round(t, 9)) for f, t in zip(fpr, tpr, strict=True)} <= expected
    assert np.trapezoid(tpr, fpr) == pytest.approx(compute_auroc(known, unknown), abs=1e-12)


def test_metrics_match_values_computed_by_hand() -> None:
    # At 0.7, 3 of 4 known and 1 of 5 unknown are accepted. 95 % of four is four: at 0.4, 2 of 5.
    metrics = compute_detection_metrics(
        np.array([0.9, 0.8, 0.7, 0.4]), np.array([0.75, 0.5, 0.3, 0.2, 0.1])
    )
    assert metrics.auroc == pytest.approx((5 + 5 + 4 + 3) / 20)
    assert metrics.tnr_at_tpr95 == pytest.approx(3 / 5)
    assert metrics.detection_accuracy == pytest.approx((1 + 3 / 5) / 2)


@pytest.mark.parametrize("n", [20, 40, 100, 1000])
def test_tnr_at_tpr95_is_exact_at_95_percent(n: int) -> None:
    # Known and unknown images have the same scores, so 5 % of either are rejected.
    scores = np.arange(n) / n
    assert compute_detection_metrics(scores, scores).tnr_at_tpr95 == pytest.approx(0.05)


def test_constant_scores_give_chance_level() -> None:
    metrics = compute_detection_metrics(np.ones(7), np.ones(3))
    assert metrics.auroc == 0.5
    assert metrics.tnr_at_tpr95 == 0
    assert metrics.detection_accuracy == 0.5
    # All images are accepted or none: precision is 1 or the fraction of positives.
    assert metrics.auin == pytest.approx((1 + 7 / 10) / 2)
    assert metrics.auout == pytest.approx((1 + 3 / 10) / 2)


def test_single_scores_are_enough() -> None:
    apart = compute_detection_metrics(np.array([0.8]), np.array([0.3]))
    assert vars(apart) == dict.fromkeys(vars(apart), 1.0)
    crossed = compute_detection_metrics(np.array([0.3]), np.array([0.8]))
    assert (crossed.auroc, crossed.tnr_at_tpr95, crossed.detection_accuracy) == (0, 0, 0.5)


def test_metrics_depend_only_on_the_order_of_scores() -> None:
    rng = np.random.default_rng(0)
    known, unknown = rng.beta(5, 2, 200), rng.beta(3, 3, 150)
    first = compute_detection_metrics(known, unknown)
    second = compute_detection_metrics(np.exp(3 * known) - 7, np.exp(3 * unknown) - 7)
    assert vars(first) == pytest.approx(vars(second), abs=1e-12)
