"""Scores of logits and probabilities: definitions, ranges and invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from outputs import logits_only
from scipy.stats import entropy

from whichgen.openset.score_registry import SCORES

logit_arrays = arrays(
    np.float64, st.tuples(st.integers(0, 6), st.integers(1, 7)), elements=st.floats(-300, 300)
)


def score(name: str, logits: np.ndarray) -> np.ndarray:
    values = SCORES[name]()(logits_only(logits))
    assert values.dtype == np.float64
    assert values.shape == (len(logits),)
    return values


def plain_softmax(row: list[float]) -> list[float]:
    powers = [math.exp(z - max(row)) for z in row]
    return [p / math.fsum(powers) for p in powers]


@given(logits=logit_arrays)
def test_scores_match_their_definitions(logits: np.ndarray) -> None:
    probabilities = [plain_softmax(row) for row in logits.tolist()]
    ranked = [sorted([*p, 0.0], reverse=True) for p in probabilities]
    for name, expected in {
        "max_probability": [r[0] for r in ranked],
        "margin": [r[0] - r[1] for r in ranked],
        "entropy": [-float(entropy(p)) for p in probabilities],
        "max_logit": [max(row) for row in logits.tolist()],
        "energy": [math.log(math.fsum(map(math.exp, row))) for row in logits.tolist()],
    }.items():
        np.testing.assert_allclose(score(name, logits), expected, rtol=1e-12, atol=1e-12)


@given(logits=logit_arrays)
def test_scores_stay_within_their_ranges(logits: np.ndarray) -> None:
    origins, rounding = logits.shape[1], 1e-12
    largest, margin = score("max_probability", logits), score("margin", logits)
    assert ((largest >= 1 / origins - rounding) & (largest <= 1 + rounding)).all()
    assert ((margin >= 0) & (margin <= largest)).all()
    assert (score("entropy", logits) >= -np.log(origins) - rounding).all()
    assert (score("entropy", logits) <= 0).all()
    excess = score("energy", logits) - score("max_logit", logits)
    assert ((excess >= 0) & (excess <= math.log(origins) + rounding)).all()
    # The excess is minus the logarithm of the largest probability.
    np.testing.assert_allclose(np.exp(-excess), largest, rtol=1e-9)


def test_scores_match_values_computed_by_hand() -> None:
    logits = np.log([[0.5, 0.25, 0.25], [1, 1, 1], [0.7, 0.2, 0.1]])
    np.testing.assert_allclose(score("max_probability", logits), [0.5, 1 / 3, 0.7])
    np.testing.assert_allclose(score("margin", logits), [0.25, 0, 0.5], atol=1e-15)
    np.testing.assert_allclose(score("entropy", logits[:2]), [-1.5 * math.log(2), -math.log(3)])


@given(logits=logit_arrays, shift=st.floats(-1000, 1000))
def test_adding_a_constant_shifts_logit_scores_and_not_probability_scores(
    logits: np.ndarray, shift: float
) -> None:
    for name in ("max_probability", "margin", "entropy"):
        np.testing.assert_allclose(score(name, logits + shift), score(name, logits), atol=1e-9)
    for name in ("max_logit", "energy"):
        expected = score(name, logits) + shift
        np.testing.assert_allclose(score(name, logits + shift), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "certain"), [("max_probability", 1), ("margin", 1), ("entropy", 0)]
)
def test_extreme_logits_give_certainty_and_no_nan(name: str, certain: float) -> None:
    logits = np.array([[0, 1e5, 0], [0, -1e5, -1e5]])
    assert score(name, logits).tolist() == [certain] * 2


def test_extreme_logits_do_not_overflow_the_energy() -> None:
    logits = np.array([[1e5, 1e5], [-1e5, -1e5], [1e5, -1e5]])
    excess = score("energy", logits) - score("max_logit", logits)
    np.testing.assert_allclose(excess, [math.log(2)] * 2 + [0])


def test_float32_logits_are_summed_in_float64() -> None:
    logits = np.array([[0, -18, -18]], dtype=np.float32)
    assert score("energy", logits)[0] == np.log1p(2 * np.exp(-18.0))
