"""Conformal sets against cases worked by hand, and their coverage by simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whichgen.errors import FitError
from whichgen.evaluation.conformal import (
    SCORES,
    ConformalQuantile,
    conformal_quantile,
    coverage_metrics,
    prediction_sets,
)

# The probability of the true origin, the first one, in nine validation images.
OWN = np.array([0.9, 0.1, 0.8, 0.3, 0.7, 0.6, 0.95, 0.2, 0.5])
NINE = np.stack([OWN, 1 - OWN], axis=1)
FIRST = np.zeros(9, dtype=int)


def test_a_quantile_by_hand() -> None:
    # k = ⌈10 · 0.8⌉ = 8: the eighth smallest of 1 - p is 1 - 0.2.
    found = conformal_quantile(NINE, FIRST, 0.8)
    assert found.values == pytest.approx((0.8, 0.8))
    assert found.images == (9, 9)
    assert found.notes == ()
    # ⌈10 · 0.61⌉ = 7: 1 - 0.3.
    assert conformal_quantile(NINE, FIRST, 0.61).values == pytest.approx((0.7, 0.7))
    # ⌈10 · 0.9⌉ = 9, the largest, and not 10 by rounding.
    assert conformal_quantile(NINE, FIRST, 0.9).values == pytest.approx((0.9, 0.9))


def test_sets_by_hand() -> None:
    quantile = conformal_quantile(NINE, FIRST, 0.5)  # the fifth: 1 - 0.6
    rows = np.array([[0.6, 0.4], [0.59, 0.41], [0.3, 0.7], [0.7, 0.65]])
    found = prediction_sets(rows, quantile)
    assert found.tolist() == [[True, False], [False, False], [False, True], [True, True]]
    assert found.dtype == np.bool_


def test_adaptive_sets_by_hand() -> None:
    validation = np.array([[0.5, 0.3, 0.2], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6], [0.6, 0.25, 0.15]])
    # Sums down to the true origin: 0.8, 0.7, 0.8 (of equals the first goes first), 1.
    labels = np.array([1, 1, 0, 2])
    quantile = conformal_quantile(validation, labels, 0.6, score="aps")  # k = 3
    assert quantile.values == pytest.approx((0.8,) * 3)
    rows = np.array([[0.4, 0.35, 0.25], [0.1, 0.1, 0.8], [0.9, 0.1, 0.0]])
    found = prediction_sets(rows, replace(quantile, values=(0.8 + 1e-9,) * 3))
    assert found.tolist() == [[True, True, False], [False, False, True], [False] * 3]


def test_by_origin_each_has_the_quantile_of_its_own_images() -> None:
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.8, 0.2], [0.6, 0.4], [0.5, 0.5]])
    labels = np.array([0, 0, 0, 1, 1])
    # Of origin 0: ⌈4 · 0.6⌉ = 3, the largest of 0.1, 0.3, 0.2. Of 1: ⌈3 · 0.6⌉ = 2: 0.6.
    found = conformal_quantile(probabilities, labels, 0.6, by_origin=True)
    assert found.values == pytest.approx((0.3, 0.6))
    assert found.images == (3, 2)
    sets = prediction_sets(np.array([[0.65, 0.35], [0.71, 0.29], [0.5, 0.5]]), found)
    assert sets.tolist() == [[False, False], [True, False], [False, True]]


@pytest.mark.parametrize(
    ("coverage", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.93, 14)]
)
@pytest.mark.parametrize("score", SCORES)
def test_too_few_images_make_sets_of_all_origins_and_it_is_said(
    coverage: float, needed: int, score: str
) -> None:
    rng = np.random.default_rng(0)
    rows = rng.dirichlet([1] * 4, 100)
    labels = np.arange(needed) % 4
    enough = conformal_quantile(rows[:needed], labels, coverage, score=score)
    assert np.isfinite(enough.values).all()
    assert enough.notes == ()
    short = conformal_quantile(rows[: needed - 1], labels[:-1], coverage, score=score)
    assert prediction_sets(rows, short).all()
    (note,) = short.notes
    assert note.startswith(f"{needed - 1} validation images are too few")
    assert note.endswith(f"every set holds all origins. {needed} are needed.")


def test_an_origin_of_too_few_images_is_in_every_set_and_it_is_said() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1] * 3, 60)
    labels = np.repeat([0, 1], [52, 8])
    found = conformal_quantile(probabilities, labels, 0.9, by_origin=True)
    assert math.isfinite(found.values[0])
    assert found.images == (52, 8, 0)
    sets = prediction_sets(probabilities, found)
    assert sets[:, 1:].all()
    assert not sets[:, 0].all()
    assert [note[:38] for note in found.notes] == [
        "origin number 1 has 8 validation image",
        "origin number 2 has 0 validation image",
    ]
    assert all("9 are needed" in note for note in found.notes)


def _draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Overconfident probabilities of four origins of unequal frequency and difficulty."""
    labels = rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    logits = rng.normal(size=(n, 4))
    logits[np.arange(n), labels] += np.array([2.5, 1.5, 1.0, 0.5])[labels]
    p = np.exp(2 * logits)
    return p / p.sum(axis=1, keepdims=True), labels


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(20, 80),
    percent=st.integers(50, 95),
    score=st.sampled_from(SCORES),
    by_origin=st.booleans(),
)
def test_sets_hold_the_true_origin_as_often_as_asked(
    seed: int, n: int, percent: int, score: str, by_origin: bool
) -> None:
    rng = np.random.default_rng(seed)
    draws, tested = 150, 40
    shares = []
    for _ in range(draws):
        probabilities, labels = _draw(n + tested, rng)
        quantile = conformal_quantile(
            probabilities[:n], labels[:n], percent / 100, score=score, by_origin=by_origin
        )
        sets = prediction_sets(probabilities[n:], quantile)
        shares.append(coverage_metrics(sets, labels[n:]).coverage)
    error = 4 * np.std(shares) / np.sqrt(draws)
    assert np.mean(shares) >= percent / 100 - error
    if not by_origin:
        # Nor is it much more: at most one image of n + 1.
        assert np.mean(shares) <= percent / 100 + 1 / (n + 1) + error


def test_the_finite_sample_correction_matters_for_few_images() -> None:
    # k = ⌈11 · 0.8⌉ = 9 of 10, so 9/11 on average. Without the correction it would be 8/11.
    rng = np.random.default_rng(1)
    held = []
    for _ in range(3000):
        probabilities, labels = _draw(15, rng)
        sets = prediction_sets(
            probabilities[10:], conformal_quantile(probabilities[:10], labels[:10], 0.8)
        )
        held.append(coverage_metrics(sets, labels[10:]).coverage)
    assert np.mean(held) == pytest.approx(9 / 11, abs=0.015)


def test_only_quantiles_by_origin_cover_every_origin() -> None:
    rng = np.random.default_rng(2)
    probabilities, labels = _draw(4000, rng)
    test, truth = _draw(20_000, rng)
    pooled, mondrian = (
        coverage_metrics(
            prediction_sets(test, conformal_quantile(probabilities, labels, by_origin=by_origin)),
            truth,
        )
        for by_origin in (False, True)
    )
    assert pooled.coverage == pytest.approx(0.9, abs=0.015)
    assert min(pooled.by_origin) < 0.8
    assert np.abs(np.array(mondrian.by_origin) - 0.9).max() < 0.04
    assert mondrian.mean_size > pooled.mean_size


def test_lac_has_the_smaller_sets_and_aps_serves_hard_origins_better() -> None:
    rng = np.random.default_rng(3)
    probabilities, labels = _draw(4000, rng)
    test, truth = _draw(20_000, rng)
    lac, aps = (
        coverage_metrics(
            prediction_sets(test, conformal_quantile(probabilities, labels, score=score)), truth
        )
        for score in SCORES
    )
    assert lac.mean_size < aps.mean_size
    assert min(lac.by_origin) < min(aps.by_origin)


def test_a_set_does_not_depend_on_the_images_beside_it() -> None:
    probabilities, labels = _draw(100, np.random.default_rng(4))
    for score in SCORES:
        quantile = conformal_quantile(probabilities, labels, score=score)
        one_by_one = [prediction_sets(row[None], quantile)[0] for row in probabilities]
        np.testing.assert_array_equal(prediction_sets(probabilities, quantile), one_by_one)


def test_the_report_by_hand() -> None:
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 1, 1]], dtype=bool)
    found = coverage_metrics(sets, np.array([0, 0, 0, 0, 1]))
    assert found.coverage == pytest.approx(3 / 5)
    assert found.mean_size == pytest.approx(7 / 5)
    assert (found.empty, found.singleton) == pytest.approx((1 / 5, 2 / 5))
    assert found.by_origin[:2] == (0.5, 1)
    assert math.isnan(found.by_origin[2])


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.5, float("nan")])
def test_a_coverage_that_is_none_is_told(coverage: float) -> None:
    with pytest.raises(FitError, match="over 0 and under 1"):
        conformal_quantile(NINE, FIRST, coverage)


def test_a_score_that_is_not_there_is_told() -> None:
    with pytest.raises(FitError, match="there are lac, aps"):
        conformal_quantile(NINE, FIRST, score="raps")


def test_the_default_is_lac_at_90_percent() -> None:
    assert conformal_quantile(NINE, FIRST) == ConformalQuantile(
        score="lac", coverage=0.9, by_origin=False, values=(0.9, 0.9), images=(9, 9)
    )
