"""Closed-set metrics against a case worked by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from whichgen.evaluation.closed_set import closed_set_metrics


def _probabilities(predicted: list[int], origins: int) -> np.ndarray:
    """Rows whose largest entry is at ``predicted``."""
    rows = np.full((len(predicted), origins), 0.1)
    rows[np.arange(len(predicted)), predicted] = 0.5
    return rows


def test_by_hand() -> None:
    #         true  0  0  0  0  1  1  1  2  2  2
    predicted = [0, 0, 0, 1, 1, 1, 2, 0, 2, 2]
    found = closed_set_metrics(
        _probabilities(predicted, 3), np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    )
    assert found.confusion == ((3, 1, 0), (0, 2, 1), (1, 0, 2))
    assert found.accuracy == pytest.approx(0.7)
    assert found.recall == pytest.approx((3 / 4, 2 / 3, 2 / 3))
    assert found.macro_recall == pytest.approx((3 / 4 + 2 / 3 + 2 / 3) / 3)
    # F1 = 2 TP / (2 TP + FP + FN): origin 0 has FP 1, FN 1; origin 1 FP 1, FN 1; origin 2 too.
    assert found.macro_f1 == pytest.approx((6 / 8 + 4 / 6 + 4 / 6) / 3)


def test_classes_of_different_size_count_alike_in_macro_figures() -> None:
    labels = np.array([0] * 9 + [1])
    found = closed_set_metrics(_probabilities([0] * 10, 2), labels)
    assert found.accuracy == pytest.approx(0.9)
    assert found.macro_recall == pytest.approx(0.5)
    # Origin 0: 18 / 19. Origin 1 is never predicted: 0.
    assert found.macro_f1 == pytest.approx((18 / 19 + 0) / 2)


def test_an_origin_without_images_has_no_recall_and_costs_none() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = closed_set_metrics(_probabilities([0, 1, 1], 3), np.array([0, 1, 1]))
    assert (found.accuracy, found.macro_f1, found.macro_recall) == (1, 1, 1)
    assert found.recall[:2] == (1, 1)
    assert math.isnan(found.recall[2])
    assert found.confusion == ((1, 0, 0), (0, 2, 0), (0, 0, 0))


def test_every_image_in_its_own_origin_is_all_ones() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 50)
    found = closed_set_metrics(_probabilities(labels.tolist(), 4), labels)
    assert (found.accuracy, found.macro_f1, found.macro_recall) == (1, 1, 1)
    assert np.array_equal(found.confusion, np.diag(np.bincount(labels)))


def test_all_wrong_is_all_zeros() -> None:
    found = closed_set_metrics(_probabilities([1, 0], 2), np.array([0, 1]))
    assert (found.accuracy, found.macro_f1, found.macro_recall) == (0, 0, 0)


def test_counts_are_plain_numbers_that_json_takes() -> None:
    found = closed_set_metrics(_probabilities([0, 1], 2), np.array([0, 1]))
    assert all(type(n) is int for row in found.confusion for n in row)
    assert all(type(r) is float for r in (*found.recall, found.accuracy, found.macro_f1))
