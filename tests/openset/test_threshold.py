"""The threshold keeps the share asked for and not one image more than ties force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgen.errors import FitError
from whichgen.openset.threshold import decide, threshold_at_tpr, tpr_interval

# Few values, so that ties are common.
tied_scores = st.lists(st.integers(0, 12), min_size=1, max_size=60).map(
    lambda values: np.array(values) / 12
)


@given(scores=tied_scores, percent=st.integers(1, 100))
def test_at_least_the_share_is_kept_and_the_next_higher_score_keeps_less(
    scores: np.ndarray, percent: int
) -> None:
    threshold = threshold_at_tpr(scores, percent / 100)
    kept = scores[scores >= threshold]
    assert threshold == pytest.approx(kept.min(), rel=2e-6)
    # In whole numbers: no rounding decides.
    assert 100 * int((scores >= threshold).sum()) >= percent * len(scores)
    for higher in np.unique(scores[scores > kept.min()]):
        assert 100 * int((scores >= higher).sum()) < percent * len(scores)


def test_the_share_is_exact_where_floats_are_not() -> None:
    for n in (20, 100, 1000):
        scores = np.random.default_rng(n).permutation(n) / n
        for percent in range(1, 101):
            if n * percent % 100 == 0:
                kept = int((scores >= threshold_at_tpr(scores, percent / 100)).sum())
                assert kept == n * percent // 100


@pytest.mark.parametrize("sign", [1, -1])
def test_rounding_decides_about_no_image_at_the_threshold(sign: int) -> None:
    scores = sign * np.random.default_rng(0).random(100)
    threshold = threshold_at_tpr(scores)
    for rounded in (np.nextafter(scores, -np.inf), scores.astype(np.float32), scores):
        assert (rounded >= threshold).sum() == 95


@pytest.mark.parametrize("n", [20, 99])
def test_the_true_rate_is_inside_its_interval_as_often_as_it_says(n: int) -> None:
    # Of uniform scores the share over a threshold is one less the threshold.
    rng = np.random.default_rng(n)
    rates = np.array([1 - threshold_at_tpr(rng.random(n), 0.9) for _ in range(4000)])
    low, high = tpr_interval(n, 0.9, level=0.8)
    assert np.mean(rates < low) == pytest.approx(0.1, abs=0.02)
    assert np.mean(rates > high) == pytest.approx(0.1, abs=0.02)


def test_more_images_make_the_true_rate_surer() -> None:
    low, high = tpr_interval(10_000)
    assert 0.945 < low < 0.95 < high < 0.955
    assert tpr_interval(1)[0] < 0.03


def test_a_tiny_share_keeps_the_best_alone() -> None:
    scores = np.array([0.2, 0.9, 0.5])
    assert threshold_at_tpr(scores, 1e-12) == pytest.approx(0.9, rel=2e-6)
    assert threshold_at_tpr(scores, 1.0) == pytest.approx(0.2, rel=2e-6)
    assert scores.tolist() == [0.2, 0.9, 0.5]


def test_float32_scores_are_kept_at_their_own_threshold() -> None:
    scores = np.linspace(0.1, 0.9, 40, dtype=np.float32)
    assert (scores >= threshold_at_tpr(scores, 0.95)).sum() == 38


@pytest.mark.parametrize("tpr", [0.0, -0.1, 1.01, float("nan")])
def test_a_rate_that_is_none_is_told(tpr: float) -> None:
    with pytest.raises(FitError, match="over 0 and at most 1"):
        threshold_at_tpr(np.array([0.5]), tpr)


def test_no_validation_image_is_told() -> None:
    with pytest.raises(FitError, match="no known validation image"):
        threshold_at_tpr(np.array([]))


def test_below_the_threshold_is_unknown_and_at_it_is_known() -> None:
    probabilities = np.array([[0.1, 0.9], [0.6, 0.4], [0.45, 0.55], [0.5, 0.5]])
    found = decide(probabilities, probabilities.max(axis=1), 0.6)
    assert found.tolist() == [1, 0, -1, -1]
    assert found.dtype == np.int64


def test_a_score_that_is_no_number_is_unknown() -> None:
    assert decide(np.array([[0.1, 0.9]]), np.array([np.nan]), 0.0).tolist() == [-1]
