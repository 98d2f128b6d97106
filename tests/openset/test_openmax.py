"""OpenMax: definition, Weibull tails, and few images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from outputs import logits_only
from scipy.optimize import brentq

from whichgen.openset.openmax import OpenMax


def _data(n: int, n_origins: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of mostly correct predictions."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_origins), rng.integers(0, n_origins, n - n_origins)])
    logits = rng.normal(0, 1.5, (n, n_origins))
    logits[np.arange(n), labels] += 3
    return logits, labels


def _fit(logits: np.ndarray, labels: np.ndarray, **options: int) -> OpenMax:
    return OpenMax.fit(logits_only(logits), labels, logits.shape[1], **options)


def _definition(score: OpenMax, row: list[float]) -> float:
    """Compute the definition in plain Python from the fitted means and tails."""
    mean, low = math.fsum(row) / len(row), min(row)
    ranked = sorted(range(len(row)), key=lambda j: -row[j])
    known, unknown = [], 0.0
    for j, z in enumerate(row):
        distance = math.dist([v - mean for v in row], score.means[j].tolist())
        tail_probability = 1 - math.exp(-((distance / score.scales[j]) ** score.shapes[j]))
        omega = max(0.0, 1 - ranked.index(j) / score.alpha) * tail_probability
        known.append((1 - omega) * (z - low))
        unknown += omega * (z - low)
    powers = [math.exp(v) for v in known]
    return math.fsum(powers) / (math.fsum(powers) + math.exp(unknown))


@pytest.mark.parametrize("alpha", [1, 2, 10])
@pytest.mark.parametrize("n_origins", [2, 5])
def test_score_matches_the_definition(n_origins: int, alpha: int) -> None:
    logits, labels = _data(200, n_origins)
    score = _fit(logits, labels, alpha=alpha)
    assert score.alpha == min(alpha, n_origins)
    queries = _data(40, n_origins, seed=1)[0]
    scores = score(logits_only(queries))
    np.testing.assert_allclose(scores, [_definition(score, q) for q in queries.tolist()], rtol=1e-9)
    assert np.ptp(scores) > 0.3


def test_score_matches_values_computed_by_hand() -> None:
    # With Weibull shape and scale 1, F = 1 − exp(−distance). The first query lies on the mean of
    # origin 0, at distance 2√2 from the mean of origin 1.
    score = OpenMax(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.ones(2), np.ones(2), 2)
    # Its second logit is 0 after subtracting the smallest logit, so it is not reduced.
    known = math.exp(2) + 1
    assert score(logits_only(np.array([[5.0, 3.0]])))[0] == pytest.approx(known / (known + 1))
    # Logits (4, 0), centered (2, −2): √2 from its mean, first in rank.
    omega = 1 - math.exp(-math.sqrt(2))
    known = math.exp(4 * (1 - omega)) + 1
    expected = known / (known + math.exp(4 * omega))
    assert score(logits_only(np.array([[4.0, 0.0]])))[0] == pytest.approx(expected)


def _log_likelihood_root(distances: np.ndarray) -> tuple[float, float]:
    """Shape and scale where the Weibull likelihood's derivatives are 0 (Johnson et al., 1994)."""
    logs = np.log(distances)

    def slope(shape: float) -> float:
        powers = distances**shape
        return float((powers * logs).sum() / powers.sum() - 1 / shape - logs.mean())

    shape = float(brentq(slope, 1e-2, 200))
    return shape, float(np.mean(distances**shape) ** (1 / shape))


@pytest.mark.parametrize(("n", "tail", "taken"), [(900, 8, 8), (900, 20, 20), (300, 20, None)])
def test_tails_are_maximum_likelihood_fits_to_the_largest_distances(
    n: int, tail: int, taken: int | None
) -> None:
    logits, labels = _data(n, 3)
    score = _fit(logits, labels, tail_size=tail)
    correct = logits.argmax(axis=1) == labels
    assert not correct.all()
    for origin in range(3):
        rows = logits[correct & (labels == origin)]
        rows = rows - rows.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(score.means[origin], rows.mean(axis=0), atol=1e-12)
        # A tail has at most a tenth of the images.
        count = taken or len(rows) // 10
        assert 5 <= count <= tail
        largest = sorted(math.dist(r, rows.mean(axis=0)) for r in rows)[-count:]
        shape, scale = _log_likelihood_root(np.array(largest))
        assert score.shapes[origin] == pytest.approx(shape, rel=1e-3)
        assert score.scales[origin] == pytest.approx(scale, rel=1e-3)


@given(data=st.data())
def test_score_decreases_with_distance_from_the_means(data: st.DataObject) -> None:
    row = np.array([data.draw(st.lists(st.floats(-20, 20), min_size=3, max_size=3))])
    scales = np.array(data.draw(st.lists(st.floats(0.1, 10), min_size=3, max_size=3)))
    means, shapes = np.eye(3) * 4 - 4 / 3, np.full(3, 1.5)
    near = OpenMax(means, shapes, scales, 3)(logits_only(row))
    # Halving the scales has the same effect as doubling all distances.
    far = OpenMax(means, shapes, scales / 2, 3)(logits_only(row))
    assert far[0] <= near[0] + 1e-12
    assert 0 <= far[0] <= near[0] <= 1


def test_adding_a_constant_to_logits_does_not_change_the_score() -> None:
    logits, labels = _data(90, 4)
    queries = _data(20, 4, seed=1)[0]
    shifts = np.random.default_rng(2).normal(0, 50, (90, 1))
    scores = _fit(logits + shifts, labels)(logits_only(queries + shifts[:20]))
    np.testing.assert_allclose(scores, _fit(logits, labels)(logits_only(queries)), rtol=1e-4)


@pytest.mark.parametrize(("counts", "pooled"), [((190, 189, 1), 20), ((9, 9, 2), 5)])
def test_origin_with_few_images_uses_the_tail_of_all_origins(
    counts: tuple[int, ...], pooled: int
) -> None:
    labels = np.repeat([0, 1, 2], counts)
    logits = np.random.default_rng(0).normal(0, 1, (len(labels), 3))
    logits[np.arange(len(labels)), labels] += 9
    score = _fit(logits, labels)
    centered = logits - logits.mean(axis=1, keepdims=True)
    distances = np.linalg.norm(centered - score.means[labels], axis=1)
    shape, scale = _log_likelihood_root(np.sort(distances)[-pooled:])
    of_all = [True, True, True] if pooled == 5 else [False, False, True]
    assert np.isclose(score.shapes, shape, rtol=1e-3).tolist() == of_all
    assert np.isclose(score.scales, scale, rtol=1e-3).tolist() == of_all


@pytest.mark.parametrize("n_each", [1, 2, 30])
def test_near_images_score_higher_even_if_all_distances_are_zero(n_each: int) -> None:
    labels = np.repeat(np.arange(3), n_each)
    # The mean of thirty times 0.3 is not exactly 0.3; the difference must not count as a distance.
    logits = np.where(labels[:, None] == np.arange(3), 5.1, 0.3)
    score = _fit(logits, labels)
    assert score.shapes.tolist() == score.scales.tolist() == [1, 1, 1]
    near, far = score(logits_only(np.array([[5.1, 0.3, 0.3], [25.0, 0.0, 0.0]])))
    assert near > 0.9
    assert far < 0.5


def test_equal_distances_form_no_tail() -> None:
    labels = np.repeat([0, 1], 10)
    logits = np.where(labels[:, None] == np.arange(2), 5.0, 0.0)
    logits[::2, 0] += 0.5
    score = _fit(logits, labels)
    # All distances are equal: the scale is that distance, and F grows slowly.
    np.testing.assert_allclose(score.scales, [math.sqrt(2) / 8] * 2)
    assert score.shapes.tolist() == [1, 1]


def test_large_distances_do_not_overflow() -> None:
    score = OpenMax(np.eye(2), np.full(2, 5000.0), np.full(2, 1e-3), 2)
    with np.errstate(all="raise", under="ignore"):
        assert score(logits_only(np.array([[1e4, -1e4]]))).tolist() == [0]
