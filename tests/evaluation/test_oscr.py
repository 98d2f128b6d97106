"""OSCR, compared with its brute-force definition and its bounds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgen.evaluation.oscr import compute_oscr, compute_oscr_curve
from whichgen.evaluation.unknown_detection import compute_auroc

_tied = st.integers(0, 6).map(float)
_free = st.floats(0, 1)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    score = draw(st.sampled_from([_tied, _free]))
    known = draw(st.lists(st.tuples(score, st.booleans()), min_size=1, max_size=25))
    unknown = draw(st.lists(score, min_size=1, max_size=25))
    return (
        np.array([s for s, _ in known]),
        np.array([right for _, right in known]),
        np.array(unknown),
    )


def _points(
    known: np.ndarray, correct: np.ndarray, unknown: np.ndarray
) -> list[tuple[float, float]]:
    """List (FPR, CCR) at all distinct thresholds in descending order; the first accepts nothing."""
    points = []
    for threshold in [np.inf, *sorted({*known.tolist(), *unknown.tolist()}, reverse=True)]:
        accepted = sum(
            right and score >= threshold
            for score, right in zip(known.tolist(), correct.tolist(), strict=True)
        )
        false = sum(score >= threshold for score in unknown.tolist())
        points.append((false / len(unknown), accepted / len(known)))
    return points


@given(case=cases())
def test_oscr_is_the_trapezoid_under_ccr_over_fpr_at_every_threshold(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    points = _points(*case)
    area = sum((right[0] - left[0]) * (left[1] + right[1]) / 2 for left, right in pairwise(points))
    assert compute_oscr(*case) == pytest.approx(area, abs=1e-12)
    np.testing.assert_allclose(np.transpose(compute_oscr_curve(*case)), points, atol=1e-12)


@given(case=cases())
def test_oscr_is_the_probability_of_being_correct_and_outscoring(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    known, correct, unknown = case
    pairs = [
        right * ((score > other) + (score == other) / 2)
        for score, right in zip(known.tolist(), correct.tolist(), strict=True)
        for other in unknown.tolist()
    ]
    assert compute_oscr(*case) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


@given(case=cases())
def test_oscr_is_at_most_auroc_and_at_most_accuracy(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    known, correct, unknown = case
    value = compute_oscr(*case)
    assert 0 <= value <= min(compute_auroc(known, unknown), correct.mean()) + 1e-12
    assert value >= compute_auroc(known, unknown) + correct.mean() - 1 - 1e-12
    all_correct = np.ones(len(known), dtype=bool)
    assert compute_oscr(known, all_correct, unknown) == pytest.approx(compute_auroc(known, unknown))


def test_oscr_matches_values_computed_by_hand() -> None:
    known, correct = np.array([0.9, 0.8, 0.6]), np.array([True, False, True])
    # Correct images outscore in 3 of 6 pairs: 0.9 both unknown images, 0.6 only 0.5.
    assert compute_oscr(known, correct, np.array([0.7, 0.5])) == pytest.approx(3 / 6)
    fpr, ccr = compute_oscr_curve(known, correct, np.array([0.7, 0.5]))
    assert fpr.tolist() == pytest.approx([0, 0, 0, 0.5, 0.5, 1])
    assert ccr.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3])


def test_correct_can_be_zeros_and_ones() -> None:
    known, unknown = np.array([0.9, 0.8]), np.array([0.1])
    assert compute_oscr(known, np.array([1, 0]), unknown) == compute_oscr(
        known, np.array([True, False]), unknown
    )


def test_constant_scores_give_half_the_accuracy() -> None:
    assert compute_oscr(
        np.ones(4), np.array([True, True, True, False]), np.ones(9)
    ) == pytest.approx(3 / 8)


def test_single_scores_are_enough() -> None:
    one, two, right = np.array([0.1]), np.array([0.2]), np.array([True])
    assert compute_oscr(two, right, one) == 1
    assert compute_oscr(one, right, two) == 0
    assert compute_oscr(one, right, one) == 0.5
    assert compute_oscr(two, ~right, one) == 0
