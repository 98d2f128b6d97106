"""Calibration, compared with its definitions and with simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from whichgen.errors import FitError
from whichgen.evaluation.calibration import (
    TEMPERATURES,
    compute_calibration_metrics,
    fit_temperature,
)


def _logits(n: int, origins: int, seed: int, t: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Create logits, and draw labels from softmax(logits / t)."""
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
def test_fit_recovers_the_temperature_of_scaled_logits(t: float) -> None:
    logits, labels = _logits(20_000, 5, 0, t)
    assert fit_temperature(logits, labels) == pytest.approx(t, rel=0.03)


@given(seed=st.integers(0, 1000), n=st.integers(1, 30), origins=st.integers(2, 5))
def test_no_other_temperature_is_more_likely(seed: int, n: int, origins: int) -> None:
    logits, labels = _logits(n, origins, seed, 2.0)
    if (logits.argmax(axis=1) == labels).all():
        return
    temperature = fit_temperature(logits, labels)
    grid = np.geomspace(*TEMPERATURES, 400)
    best = min(_nll(logits, labels, t) for t in grid)
    assert _nll(logits, labels, temperature) <= best + 1e-6


def test_temperature_scales_with_logits_and_ignores_shifts() -> None:
    logits, labels = _logits(500, 4, 1)
    t = fit_temperature(logits, labels)
    assert fit_temperature(logits * 7, labels) == pytest.approx(7 * t, rel=1e-4)
    shift = np.random.default_rng(0).normal(0, 100, (500, 1))
    assert fit_temperature(logits + shift, labels) == pytest.approx(t, rel=1e-4)


@pytest.mark.parametrize("n", [5, 100, 2000])
def test_confidence_is_limited_by_the_number_of_images_if_all_are_correct(n: int) -> None:
    # All images are equal. With a weight of 1 - ε for the label, the optimum is, in closed form,
    # p = (1 - ε) + ε / origins.
    labels = np.arange(n) % 4
    logits = 3.0 * np.eye(4)[labels]
    p = softmax(logits / fit_temperature(logits, labels), axis=1)[0].max()
    assert p == pytest.approx(1 - 3 / 4 / (n + 1), abs=1e-5)


def test_one_error_hardly_changes_the_temperature_of_many_images() -> None:
    labels = np.arange(1000) % 4
    logits = 3.0 * np.eye(4)[labels]
    all_correct = fit_temperature(logits, labels)
    labels[0] = 1
    assert fit_temperature(logits, labels) == pytest.approx(all_correct, rel=0.1)


def test_contradicted_labels_give_the_highest_temperature() -> None:
    labels = np.arange(40) % 4
    temperature = fit_temperature(-5.0 * np.eye(4)[labels], labels)
    assert temperature == pytest.approx(TEMPERATURES[1], rel=0.01)


def test_logits_can_be_extreme_float32_or_integer() -> None:
    logits, labels = _logits(300, 3, 2)
    t = fit_temperature(logits, labels)
    assert fit_temperature(logits.astype(np.float32), labels) == pytest.approx(t, rel=1e-3)
    whole = np.rint(logits * 1000).astype(np.int64)
    assert TEMPERATURES[0] < fit_temperature(whole, labels) < TEMPERATURES[1]


def test_missing_and_infinite_logits_are_rejected() -> None:
    with pytest.raises(FitError, match="validation set has no images of known origins"):
        fit_temperature(np.empty((0, 3)), np.empty(0, dtype=int))
    with pytest.raises(FitError, match="not finite"):
        fit_temperature(np.array([[0.0, -np.inf]]), np.array([0]))


@given(seed=st.integers(0, 1000), n=st.integers(1, 60), bins=st.integers(1, 20))
def test_calibration_error_is_the_gap_between_accuracy_and_confidence(
    seed: int, n: int, bins: int
) -> None:
    rng = np.random.default_rng(seed)
    # Multiples of 0.1, so that confidences are on bin edges.
    probabilities = rng.multinomial(10, [0.5, 0.3, 0.2], n) / 10
    labels = rng.integers(0, 3, n)
    metrics = compute_calibration_metrics(probabilities, labels, bins)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    weighted = 0.0
    assert metrics.edges == tuple(np.linspace(0, 1, bins + 1))
    for b in range(bins):
        low, high = metrics.edges[b], metrics.edges[b + 1]
        inside = (confidence > low) & (confidence <= high)
        assert metrics.counts[b] == inside.sum()
        if not inside.any():
            assert math.isnan(metrics.accuracy[b])
            assert math.isnan(metrics.confidence[b])
            continue
        assert metrics.accuracy[b] == pytest.approx(right[inside].mean())
        assert metrics.confidence[b] == pytest.approx(confidence[inside].mean())
        gap = abs(right[inside].mean() - confidence[inside].mean())
        weighted += inside.sum() / n * gap
    assert metrics.ece == pytest.approx(weighted)


def test_calibration_metrics_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    metrics = compute_calibration_metrics(probabilities, np.array([0, 1, 1, 0]), bins=2)
    assert metrics.counts == (0, 4)
    assert metrics.ece == pytest.approx(abs(3 / 4 - 3 / 4))
    metrics = compute_calibration_metrics(probabilities, np.array([0, 1, 1, 0]), bins=4)
    # (0.5, 0.75]: both correct at 0.65. (0.75, 1]: one of two correct at 0.85.
    assert metrics.counts == (0, 0, 2, 2)
    assert metrics.confidence[2:] == pytest.approx((0.65, 0.85))
    assert metrics.accuracy[2:] == (1, 0.5)
    assert metrics.ece == pytest.approx(0.35)


def test_confidence_0_and_slightly_over_1_have_a_bin() -> None:
    metrics = compute_calibration_metrics(
        np.array([[1 + 1e-15, 0.0], [0.0, 0.0]]), np.array([0, 0]), bins=3
    )
    assert metrics.counts == (1, 0, 1)


def test_temperature_scaling_calibrates() -> None:
    logits, labels = _logits(20_000, 4, 3, 4.0)
    t = fit_temperature(logits[:10_000], labels[:10_000])
    before, after = (
        compute_calibration_metrics(softmax(logits[10_000:] / by, axis=1), labels[10_000:])
        for by in (1.0, t)
    )
    assert before.ece > 0.15
    assert after.ece < 0.02
