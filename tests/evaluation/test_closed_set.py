"""Closed-set metrics, compared with hand-computed values."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from whichgen.evaluation.closed_set import compute_closed_set_metrics


def _probabilities(predicted: list[int], origins: int) -> np.ndarray:
    """Create rows with the largest entry at ``predicted``."""
    rows = np.full((len(predicted), origins), 0.1)
    rows[np.arange(len(predicted)), predicted] = 0.5
    return rows


def test_metrics_match_values_computed_by_hand() -> None:
    #         true  0  0  0  0  1  1  1  2  2  2
    predicted = [0, 0, 0, 1, 1, 1, 2, 0, 2, 2]
    metrics = compute_closed_set_metrics(
        _probabilities(predicted, 3), np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    )
    assert metrics.confusion == ((3, 1, 0), (0, 2, 1), (1, 0, 2))
    assert metrics.accuracy == pytest.approx(0.7)
    assert metrics.recall == pytest.approx((3 / 4, 2 / 3, 2 / 3))
    assert metrics.macro_recall == pytest.approx((3 / 4 + 2 / 3 + 2 / 3) / 3)
    # F1 = 2 TP / (2 TP + FP + FN): origin 0 has FP 1, FN 1; origin 1 FP 1, FN 1; origin 2 too.
    assert metrics.macro_f1 == pytest.approx((6 / 8 + 4 / 6 + 4 / 6) / 3)


def test_macro_averages_weigh_origins_equally() -> None:
    labels = np.array([0] * 9 + [1])
    metrics = compute_closed_set_metrics(_probabilities([0] * 10, 2), labels)
    assert metrics.accuracy == pytest.approx(0.9)
    assert metrics.macro_recall == pytest.approx(0.5)
    # Origin 0: 18 / 19. Origin 1 is never predicted: 0.
    assert metrics.macro_f1 == pytest.approx((18 / 19 + 0) / 2)


def test_origin_without_images_does_not_count() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = compute_closed_set_metrics(_probabilities([0, 1, 1], 3), np.array([0, 1, 1]))
    assert (metrics.accuracy, metrics.macro_f1, metrics.macro_recall) == (1, 1, 1)
    assert metrics.recall[:2] == (1, 1)
    assert math.isnan(metrics.recall[2])
    assert metrics.confusion == ((1, 0, 0), (0, 2, 0), (0, 0, 0))


def test_perfect_predictions_give_ones() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 50)
    metrics = compute_closed_set_metrics(_probabilities(labels.tolist(), 4), labels)
    assert (metrics.accuracy, metrics.macro_f1, metrics.macro_recall) == (1, 1, 1)
    assert np.array_equal(metrics.confusion, np.diag(np.bincount(labels)))


def test_wrong_predictions_give_zeros() -> None:
    metrics = compute_closed_set_metrics(_probabilities([1, 0], 2), np.array([0, 1]))
    assert (metrics.accuracy, metrics.macro_f1, metrics.macro_recall) == (0, 0, 0)


def test_values_are_plain_numbers() -> None:
    metrics = compute_closed_set_metrics(_probabilities([0, 1], 2), np.array([0, 1]))
    assert all(type(n) is int for row in metrics.confusion for n in row)
    assert all(type(r) is float for r in (*metrics.recall, metrics.accuracy, metrics.macro_f1))
