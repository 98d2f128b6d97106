"""Scores of logits: the definitions and how they bound each other."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from whichgen.openset.logit import energy, max_logit
from whichgen.openset.probability import max_probability

logits_of = arrays(
    np.float64,
    st.tuples(st.integers(0, 6), st.integers(1, 7)),
    elements=st.floats(-300, 300),
)


@given(logits=logits_of)
def test_scores_are_the_definitions(logits: np.ndarray) -> None:
    largest, found = max_logit(logits), energy(logits)
    assert largest.dtype == found.dtype == np.float64
    assert largest.tolist() == [max(row) for row in logits.tolist()]
    expected = [math.log(math.fsum(map(math.exp, row))) for row in logits.tolist()]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@given(logits=logits_of)
def test_energy_is_not_below_the_largest_logit_and_at_most_log_origins_above(
    logits: np.ndarray,
) -> None:
    above = energy(logits) - max_logit(logits)
    assert (above >= 0).all()
    assert (above <= math.log(logits.shape[1]) + 1e-12).all()
    # What it is above is minus the log of the largest probability.
    np.testing.assert_allclose(np.exp(-above), max_probability(logits), rtol=1e-9)


@given(logits=logits_of, shift=st.floats(-1000, 1000))
def test_a_constant_added_to_the_logits_is_added_to_the_score(
    logits: np.ndarray, shift: float
) -> None:
    for function in (max_logit, energy):
        np.testing.assert_allclose(function(logits + shift), function(logits) + shift, atol=1e-9)


def test_extreme_logits_neither_overflow_nor_vanish() -> None:
    logits = np.array([[1e5, 1e5], [-1e5, -1e5], [1e5, -1e5]])
    np.testing.assert_allclose(energy(logits) - max_logit(logits), [math.log(2)] * 2 + [0])


def test_float32_logits_are_summed_in_double_precision() -> None:
    logits = np.array([[0, -18, -18]], dtype=np.float32)
    assert energy(logits)[0] == np.log1p(2 * np.exp(-18.0))
    assert max_logit(logits).dtype == np.float64
