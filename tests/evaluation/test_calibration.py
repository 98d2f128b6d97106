"""Calibration against its definitions, by brute force and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from whichgen.errors import FitError
from whichgen.evaluation.calibration import (
    TEMPERATURES,
    at_temperature,
    calibration_metrics,
    fit_temperature,
    tpr_interval,
)
from whichgen.openset.threshold import threshold_at_tpr


def _logits(n: int, origins: int, seed: int, t: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of which softmax(logits / t) is the truth, and labels drawn from it."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, (n, origins))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return z * t, labels


def _nll(logits: np.ndarray, labels: np.ndarray, t: float) -> float:
    z = logits / t
    z = z - z.max(axis=1, keepdims=True)
    return float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(labels)), labels]).mean())


@pytest.mark.parametrize("t", [0.05, 0.5, 1.0, 3.0, 60.0])
def test_the_temperature_that_spoilt_the_logits_is_found(t: float) -> None:
    logits, labels = _logits(20_000, 5, 0, t)
    assert fit_temperature(logits, labels) == pytest.approx(t, rel=0.03)


@given(seed=st.integers(0, 1000), n=st.integers(1, 30), origins=st.integers(2, 5))
def test_no_other_temperature_is_likelier(seed: int, n: int, origins: int) -> None:
    logits, labels = _logits(n, origins, seed, 2.0)
    if (logits.argmax(axis=1) == labels).all():
        return
    found = fit_temperature(logits, labels)
    grid = np.geomspace(*TEMPERATURES, 400)
    best = min(_nll(logits, labels, t) for t in grid)
    assert _nll(logits, labels, found) <= best + 1e-6


def test_the_temperature_goes_with_the_scale_of_logits_and_not_with_their_level() -> None:
    logits, labels = _logits(500, 4, 1)
    t = fit_temperature(logits, labels)
    assert fit_temperature(logits * 7, labels) == pytest.approx(7 * t, rel=1e-4)
    shift = np.random.default_rng(0).normal(0, 100, (500, 1))
    assert fit_temperature(logits + shift, labels) == pytest.approx(t, rel=1e-4)


@pytest.mark.parametrize("n", [5, 100, 2000])
def test_answers_all_right_are_as_sure_as_their_number_allows(n: int) -> None:
    # Every image alike: the share 1 - ε of the likelihood that is the label's gives
    # p = (1 - ε) + ε / origins, in closed form.
    labels = np.arange(n) % 4
    logits = 3.0 * np.eye(4)[labels]
    p = at_temperature(logits, fit_temperature(logits, labels))[0].max()
    assert p == pytest.approx(1 - 3 / 4 / (n + 1), abs=1e-5)


def test_one_error_more_or_less_hardly_matters_for_many_images() -> None:
    labels = np.arange(1000) % 4
    logits = 3.0 * np.eye(4)[labels]
    all_right = fit_temperature(logits, labels)
    labels[0] = 1
    assert fit_temperature(logits, labels) == pytest.approx(all_right, rel=0.1)


def test_labels_that_logits_deny_get_the_highest_fit_temperature() -> None:
    labels = np.arange(40) % 4
    found = fit_temperature(-5.0 * np.eye(4)[labels], labels)
    assert found == pytest.approx(TEMPERATURES[1], rel=0.01)


def test_extreme_logits_and_float32_and_integers_are_taken() -> None:
    logits, labels = _logits(300, 3, 2)
    t = fit_temperature(logits, labels)
    assert fit_temperature(logits.astype(np.float32), labels) == pytest.approx(t, rel=1e-3)
    whole = np.rint(logits * 1000).astype(np.int64)
    assert TEMPERATURES[0] < fit_temperature(whole, labels) < TEMPERATURES[1]


def test_probabilities_at_a_fit_temperature() -> None:
    found = at_temperature(np.array([[0.0, 2 * math.log(3)], [2e4, 0.0]]), 2.0)
    np.testing.assert_allclose(found, [[0.25, 0.75], [1, 0]])


def test_logits_that_can_t_be_used_are_told() -> None:
    with pytest.raises(FitError, match="no known validation image"):
        fit_temperature(np.empty((0, 3)), np.empty(0, dtype=int))
    with pytest.raises(FitError, match="not finite"):
        fit_temperature(np.array([[0.0, -np.inf]]), np.array([0]))


@given(seed=st.integers(0, 1000), n=st.integers(1, 60), bins=st.integers(1, 20))
def test_calibration_errors_are_gaps_between_accuracy_and_confidence(
    seed: int, n: int, bins: int
) -> None:
    rng = np.random.default_rng(seed)
    # Of tenths, so that confidences fall on edges.
    probabilities = rng.multinomial(10, [0.5, 0.3, 0.2], n) / 10
    labels = rng.integers(0, 3, n)
    found = calibration_metrics(probabilities, labels, bins)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    gaps, weighted = [0.0], 0.0
    assert found.edges == tuple(np.linspace(0, 1, bins + 1))
    for b in range(bins):
        low, high = found.edges[b], found.edges[b + 1]
        inside = (confidence > low) & (confidence <= high)
        assert found.counts[b] == inside.sum()
        if not inside.any():
            assert math.isnan(found.accuracy[b])
            assert math.isnan(found.confidence[b])
            continue
        assert found.accuracy[b] == pytest.approx(right[inside].mean())
        assert found.confidence[b] == pytest.approx(confidence[inside].mean())
        gap = abs(right[inside].mean() - confidence[inside].mean())
        gaps.append(gap)
        weighted += inside.sum() / n * gap
    assert found.ece == pytest.approx(weighted)
    assert found.mce == pytest.approx(max(gaps))
    truth = np.eye(3)[labels]
    assert found.brier == pytest.approx(
        np.mean([((p - y) ** 2).sum() for p, y in zip(probabilities, truth, strict=True)])
    )


def test_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    found = calibration_metrics(probabilities, np.array([0, 1, 1, 0]), bins=2)
    assert found.counts == (0, 4)
    assert found.ece == found.mce == pytest.approx(abs(3 / 4 - 3 / 4))
    found = calibration_metrics(probabilities, np.array([0, 1, 1, 0]), bins=4)
    # (0.5, 0.75]: both right at 0.65. (0.75, 1]: one of two right at 0.85.
    assert found.counts == (0, 0, 2, 2)
    assert found.confidence[2:] == pytest.approx((0.65, 0.85))
    assert found.accuracy[2:] == (1, 0.5)
    assert found.ece == pytest.approx(0.35)
    assert found.mce == pytest.approx(0.35)
    assert found.brier == pytest.approx(2 * (0.01 + 0.64 + 0.09 + 0.16) / 4)
    assert found.nll == pytest.approx(-math.log(0.9 * 0.2 * 0.7 * 0.6) / 4)


def test_nll_is_scikit_learn_s_and_finite_at_a_probability_of_none() -> None:
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet([1] * 4, 200), rng.integers(0, 4, 200)
    found = calibration_metrics(probabilities, labels)
    assert found.nll == pytest.approx(log_loss(labels, probabilities, labels=range(4)))
    assert len(found.counts) == 15
    sure = calibration_metrics(np.array([[1.0, 0.0]]), np.array([1]))
    assert (sure.ece, sure.mce, sure.brier) == (1, 1, 2)
    assert 600 < sure.nll < 800


def test_confidences_at_0_and_a_hair_over_1_have_a_bin() -> None:
    found = calibration_metrics(np.array([[1 + 1e-15, 0.0], [0.0, 0.0]]), np.array([0, 0]), bins=3)
    assert found.counts == (1, 0, 1)


def test_scaling_by_the_temperature_found_calibrates() -> None:
    logits, labels = _logits(20_000, 4, 3, 4.0)
    t = fit_temperature(logits[:10_000], labels[:10_000])
    before, after = (
        calibration_metrics(at_temperature(logits[10_000:], by), labels[10_000:]) for by in (1.0, t)
    )
    assert before.ece > 0.15
    assert after.ece < 0.02
    assert after.nll < before.nll
    assert after.brier < before.brier


def test_the_interval_of_the_rate_by_hand() -> None:
    # At a rate of 1 the threshold is the lowest score: the share above it is Beta(n, 1), u ↦ uⁿ.
    low, high = tpr_interval(np.arange(50.0), 1.0, level=0.9)
    assert (low, high) == pytest.approx((0.05 ** (1 / 50), 0.95 ** (1 / 50)))
    # The highest of n scores: Beta(1, n).
    low, high = tpr_interval(np.arange(10.0), 0.1, level=0.5)
    assert (low, high) == pytest.approx((1 - 0.75 ** (1 / 10), 1 - 0.25 ** (1 / 10)))


@pytest.mark.parametrize(("n", "tpr"), [(20, 0.95), (60, 0.8), (200, 0.95)])
def test_the_interval_holds_the_true_rate_as_often_as_it_says(n: int, tpr: float) -> None:
    rng = np.random.default_rng(n)
    below = above = 0
    for _ in range(6000):
        # Of a uniform score the true rate is one less the threshold.
        scores = rng.random(n)
        true = 1 - threshold_at_tpr(scores, tpr)
        low, high = tpr_interval(scores, tpr, level=0.9)
        below, above = below + (true < low), above + (true > high)
    assert below / 6000 == pytest.approx(0.05, abs=0.012)
    assert above / 6000 == pytest.approx(0.05, abs=0.012)


def test_with_ties_the_interval_holds_the_true_rate_at_least_as_often() -> None:
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(1000):
        scores = rng.integers(0, 5, 50) / 5
        true = np.mean(np.arange(5) / 5 >= threshold_at_tpr(scores, 0.7))
        low, high = tpr_interval(scores, 0.7, level=0.9)
        missed += not low <= true <= high
    assert missed / 1000 < 0.12


def test_more_images_make_a_narrower_interval_around_the_rate() -> None:
    widths = []
    for n in (20, 200, 2000):
        low, high = tpr_interval(np.random.default_rng(0).random(n), 0.9)
        assert low < 0.9 < high
        widths.append(high - low)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_what_no_interval_is_of_is_told() -> None:
    with pytest.raises(FitError, match="true-positive rate"):
        tpr_interval(np.arange(5.0), 0.0)
    with pytest.raises(FitError, match="confidence level"):
        tpr_interval(np.arange(5.0), 0.9, level=1.0)
    with pytest.raises(FitError, match="no known validation image"):
        tpr_interval(np.array([]), 0.9)
