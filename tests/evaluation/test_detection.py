"""DetectionMetrics metrics against their definitions, by brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from whichgen.evaluation.detection import auroc, detection_metrics, roc_curve

scores = st.one_of(
    st.lists(st.integers(0, 6), min_size=1, max_size=25),  # ties
    st.lists(st.floats(0, 1), min_size=1, max_size=25),
).map(lambda values: np.array(values, dtype=np.float64))


def _thresholds(known: np.ndarray, unknown: np.ndarray) -> list[float]:
    """Every threshold that makes a difference, from the one that keeps nothing on."""
    return [np.inf, *sorted({*known.tolist(), *unknown.tolist()}, reverse=True)]


def _rate(values: np.ndarray, threshold: float) -> float:
    return sum(v >= threshold for v in values.tolist()) / len(values)


def _aupr(positive: np.ndarray, negative: np.ndarray) -> float:
    """Trapezoids under precision over recall, from recall 0 with precision 1 on."""
    points = [(0.0, 1.0)]
    for threshold in _thresholds(positive, negative)[1:]:
        kept = sum(v >= threshold for v in positive.tolist())
        false = sum(v >= threshold for v in negative.tolist())
        points.append((kept / len(positive), kept / (kept + false)))
    return sum((right[0] - left[0]) * (left[1] + right[1]) / 2 for left, right in pairwise(points))


@given(known=scores, unknown=scores)
def test_auroc_is_the_share_of_pairs_in_order_with_ties_half(
    known: np.ndarray, unknown: np.ndarray
) -> None:
    pairs = [(k > u) + (k == u) / 2 for k in known.tolist() for u in unknown.tolist()]
    truth = [1] * len(known) + [0] * len(unknown)
    found = auroc(known, unknown)
    assert found == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    assert found == pytest.approx(roc_auc_score(truth, [*known, *unknown]), abs=1e-12)
    assert found == pytest.approx(1 - auroc(unknown, known), abs=1e-12)


@given(known=scores, unknown=scores)
def test_tnr_at_tpr95_is_at_the_highest_threshold_that_keeps_95_percent(
    known: np.ndarray, unknown: np.ndarray
) -> None:
    threshold = next(
        t
        for t in _thresholds(known, unknown)
        if 100 * sum(k >= t for k in known.tolist()) >= 95 * len(known)
    )
    expected = 1 - _rate(unknown, threshold)
    assert detection_metrics(known, unknown).tnr_at_tpr95 == pytest.approx(expected, abs=1e-12)


@given(known=scores, unknown=scores)
def test_detection_accuracy_is_the_best_mean_of_both_rates(
    known: np.ndarray, unknown: np.ndarray
) -> None:
    expected = max(
        (_rate(known, t) + 1 - _rate(unknown, t)) / 2 for t in _thresholds(known, unknown)
    )
    found = detection_metrics(known, unknown).detection_accuracy
    assert found == pytest.approx(expected, abs=1e-12)
    assert found >= 0.5


@given(known=scores, unknown=scores)
def test_auin_and_auout_are_areas_under_precision_and_recall(
    known: np.ndarray, unknown: np.ndarray
) -> None:
    found = detection_metrics(known, unknown)
    assert found.auin == pytest.approx(_aupr(known, unknown), abs=1e-12)
    assert found.auout == pytest.approx(_aupr(-unknown, -known), abs=1e-12)


@given(known=scores, unknown=scores)
def test_the_curve_is_the_rates_at_falling_thresholds(
    known: np.ndarray, unknown: np.ndarray
) -> None:
    fpr, tpr = roc_curve(known, unknown)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    expected = {
        (round(_rate(unknown, t), 9), round(_rate(known, t), 9))
        for t in _thresholds(known, unknown)
    }
    assert {(round(f, 9), round(t, 9)) for f, t in zip(fpr, tpr, strict=True)} <= expected
    assert np.trapezoid(tpr, fpr) == pytest.approx(auroc(known, unknown), abs=1e-12)


def test_by_hand() -> None:
    # At 0.7: known 3 of 4 kept, unknown 1 of 5. 95 % of four are all four: at 0.4, 2 of 5 kept.
    found = detection_metrics(np.array([0.9, 0.8, 0.7, 0.4]), np.array([0.75, 0.5, 0.3, 0.2, 0.1]))
    assert found.auroc == pytest.approx((5 + 5 + 4 + 3) / 20)
    assert found.tnr_at_tpr95 == pytest.approx(3 / 5)
    assert found.detection_accuracy == pytest.approx((1 + 3 / 5) / 2)


@pytest.mark.parametrize("n", [20, 40, 100, 1000])
def test_95_percent_is_not_one_image_more_nor_less(n: int) -> None:
    # Known and unknown images share their scores: what is rejected is 5 % of either.
    scores = np.arange(n) / n
    assert detection_metrics(scores, scores).tnr_at_tpr95 == pytest.approx(0.05)


def test_constant_scores_tell_nothing() -> None:
    found = detection_metrics(np.ones(7), np.ones(3))
    assert found.auroc == 0.5
    assert found.tnr_at_tpr95 == 0
    assert found.detection_accuracy == 0.5
    # Everything is kept or nothing: precision goes from 1 to the share of positives.
    assert found.auin == pytest.approx((1 + 7 / 10) / 2)
    assert found.auout == pytest.approx((1 + 3 / 10) / 2)


def test_one_score_each() -> None:
    apart = detection_metrics(np.array([0.8]), np.array([0.3]))
    assert vars(apart) == dict.fromkeys(vars(apart), 1.0)
    crossed = detection_metrics(np.array([0.3]), np.array([0.8]))
    assert (crossed.auroc, crossed.tnr_at_tpr95, crossed.detection_accuracy) == (0, 0, 0.5)


def test_metrics_depend_on_the_order_of_scores_alone() -> None:
    rng = np.random.default_rng(0)
    known, unknown = rng.beta(5, 2, 200), rng.beta(3, 3, 150)
    first = detection_metrics(known, unknown)
    second = detection_metrics(np.exp(3 * known) - 7, np.exp(3 * unknown) - 7)
    assert vars(first) == pytest.approx(vars(second), abs=1e-12)
