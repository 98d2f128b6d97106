"""Scores of probabilities: the definitions, their ranges, and what they must not depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy

from whichgen.openset.probability import margin, max_probability, negative_entropy

logits_of = arrays(
    np.float64,
    st.tuples(st.integers(0, 6), st.integers(1, 7)),
    elements=st.floats(-1000, 1000),
)


def _softmax(row: np.ndarray) -> list[float]:
    powers = [math.exp(float(z) - float(max(row))) for z in row]
    return [p / math.fsum(powers) for p in powers]


@given(logits=logits_of)
def test_scores_are_the_definitions(logits: np.ndarray) -> None:
    probabilities = [_softmax(row) for row in logits]
    ranked = [sorted([*p, 0.0], reverse=True) for p in probabilities]
    for function, expected in (
        (max_probability, [r[0] for r in ranked]),
        (margin, [r[0] - r[1] for r in ranked]),
        (negative_entropy, [-float(entropy(p)) for p in probabilities]),
    ):
        found = function(logits)
        assert found.dtype == np.float64
        assert found.shape == (len(logits),)
        np.testing.assert_allclose(found, expected, atol=1e-12)


@given(logits=logits_of)
def test_ranges(logits: np.ndarray) -> None:
    origins, rounding = logits.shape[1], 1e-12
    largest, negative, gap = max_probability(logits), negative_entropy(logits), margin(logits)
    assert ((largest >= 1 / origins - rounding) & (largest <= 1 + rounding)).all()
    assert ((negative >= -np.log(origins) - rounding) & (negative <= 0)).all()
    assert ((gap >= 0) & (gap <= largest)).all()


def test_by_hand() -> None:
    logits = np.log([[0.5, 0.25, 0.25], [1, 1, 1], [0.7, 0.2, 0.1]])
    np.testing.assert_allclose(max_probability(logits), [0.5, 1 / 3, 0.7])
    np.testing.assert_allclose(margin(logits), [0.25, 0, 0.5], atol=1e-15)
    np.testing.assert_allclose(negative_entropy(logits[:2]), [-1.5 * math.log(2), -math.log(3)])


@pytest.mark.parametrize("function", [max_probability, negative_entropy, margin])
def test_certainty_is_one_or_zero_and_not_nan(function: object) -> None:
    assert callable(function)
    certain = 0 if function is negative_entropy else 1
    assert function(np.array([[0, 1e5, 0], [0, -np.inf, -np.inf]])).tolist() == [certain] * 2


@pytest.mark.parametrize("function", [max_probability, negative_entropy, margin])
def test_a_constant_added_to_the_logits_is_no_matter(function: object) -> None:
    assert callable(function)
    logits = np.random.default_rng(0).normal(0, 2, (20, 4))
    np.testing.assert_allclose(function(logits + 100), function(logits), atol=1e-12)
    # Computed in float64, whatever comes in.
    exact = logits.astype(np.float32).astype(np.float64)
    assert np.array_equal(function(logits.astype(np.float32)), function(exact))
