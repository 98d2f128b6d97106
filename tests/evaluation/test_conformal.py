"""Conformal sets, compared with hand-computed cases; coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whichgen.errors import FitError
from whichgen.evaluation.conformal import (
    compute_conformal_quantile,
    compute_coverage_metrics,
    compute_prediction_sets,
)

# Probability of the true origin, which is the first origin, for nine validation images.
OWN = np.array([0.9, 0.1, 0.8, 0.3, 0.7, 0.6, 0.95, 0.2, 0.5])
NINE = np.stack([OWN, 1 - OWN], axis=1)
FIRST = np.zeros(9, dtype=int)


@pytest.mark.parametrize(
    ("coverage", "value"),
    # k = ⌈10 · coverage⌉: the eighth and seventh smallest 1 - p; ⌈10 · 0.9⌉ must be 9, not 10.
    [(0.8, 1 - 0.2), (0.61, 1 - 0.3), (0.9, 1 - 0.1)],
)
def test_quantile_by_hand(coverage: float, value: float) -> None:
    quantile = compute_conformal_quantile(NINE, FIRST, coverage)
    assert quantile.value == pytest.approx(value)
    assert quantile.notes == ()


def test_sets_by_hand() -> None:
    quantile = compute_conformal_quantile(NINE, FIRST, 0.5)  # fifth smallest: 1 - 0.6
    rows = np.array([[0.6, 0.4], [0.59, 0.41], [0.3, 0.7], [0.7, 0.65]])
    sets = compute_prediction_sets(rows, quantile)
    assert sets.tolist() == [[True, False], [False, False], [False, True], [True, True]]
    assert sets.dtype == np.bool_


@pytest.mark.parametrize(
    ("coverage", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.93, 14)]
)
def test_too_few_images_give_full_sets_and_a_note(coverage: float, needed: int) -> None:
    rows = np.random.default_rng(0).dirichlet([1] * 4, 100)
    labels = np.arange(needed) % 4
    enough = compute_conformal_quantile(rows[:needed], labels, coverage)
    assert np.isfinite(enough.value)
    assert enough.notes == ()
    short = compute_conformal_quantile(rows[: needed - 1], labels[:-1], coverage)
    assert compute_prediction_sets(rows, short).all()
    (note,) = short.notes
    assert note.startswith(
        f"Too few validation images for a coverage of {coverage:g}: {needed - 1} instead of at "
        f"least {needed}. Every prediction set contains all origins."
    )
    assert note.endswith("train with more images.")


def _draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw overconfident probabilities for four origins of unequal frequency and difficulty."""
    labels = rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    logits = rng.normal(size=(n, 4))
    logits[np.arange(n), labels] += np.array([2.5, 1.5, 1.0, 0.5])[labels]
    p = np.exp(2 * logits)
    return p / p.sum(axis=1, keepdims=True), labels


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(20, 80), percent=st.integers(50, 95))
def test_sets_reach_the_coverage(seed: int, n: int, percent: int) -> None:
    rng = np.random.default_rng(seed)
    draws, test_images = 150, 40
    shares = []
    for _ in range(draws):
        probabilities, labels = _draw(n + test_images, rng)
        quantile = compute_conformal_quantile(probabilities[:n], labels[:n], percent / 100)
        sets = compute_prediction_sets(probabilities[n:], quantile)
        shares.append(compute_coverage_metrics(sets, labels[n:]).coverage)
    error = 4 * np.std(shares) / np.sqrt(draws)
    assert np.mean(shares) >= percent / 100 - error
    # The excess is at most one image of n + 1.
    assert np.mean(shares) <= percent / 100 + 1 / (n + 1) + error


def test_finite_sample_correction() -> None:
    # k = ⌈11 · 0.8⌉ = 9 of 10, so 9/11 on average. Without the correction, it would be 8/11.
    rng = np.random.default_rng(1)
    coverages = []
    for _ in range(3000):
        probabilities, labels = _draw(15, rng)
        quantile = compute_conformal_quantile(probabilities[:10], labels[:10], 0.8)
        sets = compute_prediction_sets(probabilities[10:], quantile)
        coverages.append(compute_coverage_metrics(sets, labels[10:]).coverage)
    assert np.mean(coverages) == pytest.approx(9 / 11, abs=0.015)


def test_a_set_does_not_depend_on_the_other_images() -> None:
    probabilities, labels = _draw(100, np.random.default_rng(4))
    quantile = compute_conformal_quantile(probabilities, labels)
    one_by_one = [compute_prediction_sets(row[None], quantile)[0] for row in probabilities]
    np.testing.assert_array_equal(compute_prediction_sets(probabilities, quantile), one_by_one)


def test_coverage_metrics_by_hand() -> None:
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 1, 1]], dtype=bool)
    metrics = compute_coverage_metrics(sets, np.array([0, 0, 0, 0, 1]))
    assert metrics.coverage == pytest.approx(3 / 5)
    assert metrics.mean_size == pytest.approx(7 / 5)


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.5, float("nan")])
def test_coverage_out_of_range(coverage: float) -> None:
    with pytest.raises(FitError, match="greater than 0 and less than 1"):
        compute_conformal_quantile(NINE, FIRST, coverage)


def test_sources_have_equal_weight() -> None:
    """Three sources of 1, 2 and 6 images: weights 1/4, 2 of 1/8, 6 of 1/24, and 1/4 at infinity."""
    sources = np.array([*"abbcccccc"])
    own = np.array([0.2, 0.9, 0.4, 0.8, 0.7, 0.6, 0.5, 0.3, 0.1])
    rows = np.stack([own, 1 - own], axis=1)
    # In the order of 1 - p: b 3/24, c 1/24 to 4/24 (0.8, 0.7, 0.6, 0.5), b 3/24, c, a 6/24, c.
    for coverage, probability in ((0.29, 0.5), (0.41, 0.4), (0.43, 0.3), (0.5, 0.2), (0.75, 0.1)):
        quantile = compute_conformal_quantile(rows, FIRST, coverage, sources)
        assert quantile.value == pytest.approx(1 - probability), coverage
    short = compute_conformal_quantile(rows, FIRST, 0.76, sources)
    assert short.notes[0].startswith(
        "Too few validation sources for a coverage of 0.76: 3 instead of at least 4."
    )
    assert compute_prediction_sets(rows, short).all()
    alone = compute_conformal_quantile(rows, FIRST, 0.7, np.arange(9))
    assert alone == compute_conformal_quantile(rows, FIRST, 0.7)


def test_coverage_holds_for_images_of_a_new_source() -> None:
    """Sources differ in difficulty, and the easy one is large: plain quantiles cover too little."""
    rng = np.random.default_rng(0)
    covered: dict[bool, list[bool]] = {False: [], True: []}
    for _ in range(1500):
        sizes = rng.choice([1, 2, 40], 12)
        difficulty = np.where(sizes > 2, 0.0, rng.normal(size=12))
        sources = np.repeat(np.arange(12), sizes)
        own = 1 / (1 + np.exp(difficulty[sources] * 2 + 0.2 * rng.normal(size=len(sources))))
        rows = np.stack([own, 1 - own], axis=1)
        known, new = sources < 11, np.flatnonzero(sources == 11)[:1]
        labels = np.zeros(int(known.sum()), dtype=int)
        for by_source in (False, True):
            quantile = compute_conformal_quantile(
                rows[known], labels, 0.8, sources[known] if by_source else None
            )
            covered[by_source].append(bool(compute_prediction_sets(rows[new], quantile)[0, 0]))
    assert np.mean(covered[True]) >= 0.8 - 3 * np.sqrt(0.8 * 0.2 / 1500)
    assert np.mean(covered[False]) < 0.75
