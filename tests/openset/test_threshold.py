"""The threshold accepts the requested fraction, and no more images than ties require."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from whichgen.errors import FitError
from whichgen.openset.threshold import (
    choose_threshold,
    choose_threshold_at_fpr,
    choose_threshold_at_precision,
    choose_threshold_at_tpr,
    compute_tpr_interval,
    decide,
)

# Few distinct values, so that ties are common.
tied_scores = st.lists(st.integers(0, 12), min_size=1, max_size=60).map(
    lambda values: np.array(values) / 12
)


@given(scores=tied_scores, percent=st.integers(1, 100))
def test_threshold_is_the_largest_that_accepts_the_fraction(
    scores: np.ndarray, percent: int
) -> None:
    threshold = choose_threshold_at_tpr(scores, percent / 100)
    accepted = scores[scores >= threshold]
    assert threshold == pytest.approx(accepted.min(), rel=2e-6)
    # Integer arithmetic, so that rounding has no effect.
    assert 100 * int((scores >= threshold).sum()) >= percent * len(scores)
    for higher in np.unique(scores[scores > accepted.min()]):
        assert 100 * int((scores >= higher).sum()) < percent * len(scores)


def test_fraction_is_exact_despite_floating_point_rounding() -> None:
    for n in (20, 100, 1000):
        scores = np.random.default_rng(n).permutation(n) / n
        for percent in range(1, 101):
            if n * percent % 100 == 0:
                accepted = int((scores >= choose_threshold_at_tpr(scores, percent / 100)).sum())
                assert accepted == n * percent // 100


@pytest.mark.parametrize("sign", [1, -1])
def test_rounding_does_not_reject_images_at_the_threshold(sign: int) -> None:
    scores = sign * np.random.default_rng(0).random(100)
    threshold = choose_threshold_at_tpr(scores)
    for rounded in (np.nextafter(scores, -np.inf), scores.astype(np.float32), scores):
        assert (rounded >= threshold).sum() == 95


@pytest.mark.parametrize("n", [20, 99])
def test_interval_covers_the_true_rate_at_its_level(n: int) -> None:
    # The fraction of uniform scores above a threshold is one minus the threshold.
    rng = np.random.default_rng(n)
    rates = np.array([1 - choose_threshold_at_tpr(rng.random(n), 0.9) for _ in range(4000)])
    low, high = compute_tpr_interval(n, 0.9, level=0.8)
    assert np.mean(rates < low) == pytest.approx(0.1, abs=0.02)
    assert np.mean(rates > high) == pytest.approx(0.1, abs=0.02)


def test_interval_shrinks_with_more_images() -> None:
    low, high = compute_tpr_interval(10_000)
    assert 0.945 < low < 0.95 < high < 0.955
    assert compute_tpr_interval(1)[0] < 0.03


def test_tiny_fraction_accepts_only_the_best_image() -> None:
    scores = np.array([0.2, 0.9, 0.5])
    assert choose_threshold_at_tpr(scores, 1e-12) == pytest.approx(0.9, rel=2e-6)
    assert choose_threshold_at_tpr(scores, 1.0) == pytest.approx(0.2, rel=2e-6)
    assert scores.tolist() == [0.2, 0.9, 0.5]


def test_float32_scores_are_accepted_at_their_own_threshold() -> None:
    scores = np.linspace(0.1, 0.9, 40, dtype=np.float32)
    assert (scores >= choose_threshold_at_tpr(scores, 0.95)).sum() == 38


@pytest.mark.parametrize("tpr", [0.0, -0.1, 1.01, float("nan")])
def test_invalid_rate_is_rejected(tpr: float) -> None:
    with pytest.raises(FitError, match="above 0 and at most 1"):
        choose_threshold_at_tpr(np.array([0.5]), tpr)


def test_missing_validation_images_are_reported() -> None:
    with pytest.raises(FitError, match="no validation images of known origins"):
        choose_threshold_at_tpr(np.array([]))


def test_images_below_the_threshold_are_unknown() -> None:
    probabilities = np.array([[0.1, 0.9], [0.6, 0.4], [0.45, 0.55], [0.5, 0.5]])
    decisions = decide(probabilities, probabilities.max(axis=1), 0.6)
    assert decisions.tolist() == [1, 0, -1, -1]
    assert decisions.dtype == np.int64


def test_nan_score_is_unknown() -> None:
    assert decide(np.array([[0.1, 0.9]]), np.array([np.nan]), 0.0).tolist() == [-1]


@given(hnp.arrays(float, st.integers(1, 60), elements=st.integers(-9, 9)), st.floats(0, 0.99))
def test_few_scores_reach_the_threshold_at_fpr(scores: np.ndarray, fpr: float) -> None:
    threshold = choose_threshold_at_fpr(scores, fpr)
    assert (scores >= threshold).sum() <= fpr * len(scores) + 1e-9
    lower = scores[scores < threshold].max()
    assert (scores >= lower).sum() > fpr * len(scores) - 1e-9


@given(st.data(), st.integers(1, 60), st.floats(0.01, 1))
def test_precision_holds_above_the_threshold(data: st.DataObject, n: int, precision: float) -> None:
    scores = data.draw(hnp.arrays(float, n, elements=st.integers(-9, 9)))
    correct = data.draw(hnp.arrays(bool, n))
    threshold = choose_threshold_at_precision(scores, correct, precision)
    precisions = {s: correct[scores >= s].mean() for s in scores.tolist()}
    feasible = [s for s, p in precisions.items() if p >= precision - 1e-9]
    lowest = min(feasible, default=scores.max())
    assert threshold == pytest.approx(lowest, rel=2e-6)
    assert np.array_equal(scores >= threshold, scores >= lowest)


def test_no_answers_have_no_precision() -> None:
    with pytest.raises(FitError, match="no scores"):
        choose_threshold_at_precision(np.empty(0), np.empty(0, bool), 0.95)


def test_threshold_reaches_precision_and_spares_real_images() -> None:
    # Most probable origin, true origin and score of seven images; -1 is an unknown generator.
    predicted = np.array([1, 2, 1, 1, 2, 0, 1])
    labels = np.array([1, 2, 1, 0, -1, 0, 1])
    scores = np.array([9.0, 8.0, 7.0, 6.0, 5.0, 9.5, 4.0])
    images = (scores, predicted, labels, ("real", "gan", "vae"))
    assert choose_threshold(*images, precision=1.0, fpr=0.5) == pytest.approx(7, rel=1e-5)
    assert choose_threshold(*images, precision=0.75, fpr=0.5) == pytest.approx(6, rel=1e-5)
    # One of the two real images would be attributed to a generator, but none may be.
    assert 6 < choose_threshold(*images, precision=0.75, fpr=0.0) < 7
    # Without a precision, the image of the unknown generator does not count.
    assert choose_threshold(*images, tpr=1.0) == pytest.approx(4, rel=1e-5)
    assert choose_threshold(*images, tpr=0.5) == pytest.approx(8, rel=1e-5)
    no_generator = (scores[:2], np.array([0, 0]), labels[:2], ("real", "gan", "vae"))
    assert choose_threshold(*no_generator, precision=0.95) > 9
