"""The k-th nearest neighbor: by the definition, to the digits that float32 features have."""

from __future__ import annotations

import math

import numpy as np
import pytest

from whichgen.errors import FitError
from whichgen.heads.knn import normalize_rows
from whichgen.openset.nearest_neighbors import DeepNearestNeighbors


def _features(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1, (n, d)).astype(np.float32)


def _brute_force(exemplars: np.ndarray, query: np.ndarray, k: int) -> float:
    """The definition, in plain Python."""

    def unit(row: np.ndarray) -> list[float]:
        norm = math.sqrt(math.fsum(float(v) ** 2 for v in row))
        return [float(v) / norm for v in row]

    return -sorted(math.dist(unit(e), unit(query)) for e in exemplars)[k - 1]


@pytest.mark.parametrize("k", [1, 5, 30])
@pytest.mark.parametrize("d", [6, 60])
def test_the_score_is_minus_the_distance_to_the_k_th_nearest(d: int, k: int) -> None:
    x, queries = _features(30, d), _features(12, d, seed=1)
    score = DeepNearestNeighbors(k).fit(x, x, np.arange(30) % 3, 3)
    found = score(queries, queries)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [_brute_force(x, q, k) for q in queries], atol=1e-6)


def test_k_is_five_and_the_farthest_where_there_are_fewer() -> None:
    x, queries = _features(30, 6), _features(4, 6, seed=1)
    by_default = DeepNearestNeighbors().fit(x, x, np.zeros(30, int), 1)
    np.testing.assert_allclose(
        by_default(queries, queries), [_brute_force(x, q, 5) for q in queries], atol=1e-6
    )
    few = DeepNearestNeighbors().fit(x[:3], x[:3], np.zeros(3, int), 1)
    assert few.k == 3
    np.testing.assert_allclose(
        few(queries, queries), [_brute_force(x[:3], q, 3) for q in queries], atol=1e-6
    )


@pytest.mark.parametrize("n", [3, 2000])
def test_a_training_image_is_at_no_distance_from_itself_in_any_batch(n: int) -> None:
    # Of two thousand, faiss's own distances are 1e-3 off.
    x = _features(n, 768)
    score = DeepNearestNeighbors(1).fit(x, x, np.zeros(n, int), 1)
    assert score(x, x).tolist() == [0] * n


def test_the_length_of_a_feature_is_no_matter() -> None:
    x, queries = _features(20, 8), _features(5, 8, seed=1)
    y = np.zeros(20, int)
    scale = np.float32(2) ** np.arange(20, dtype=np.float32)[:, None]
    found = DeepNearestNeighbors().fit(x * scale, x, y, 1)(queries * np.float32(1000), queries)
    expected = DeepNearestNeighbors().fit(x, x, y, 1)(queries, queries)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_opposite_and_no_direction() -> None:
    x = np.array([[2, 0]], dtype=np.float32)
    score = DeepNearestNeighbors().fit(x, x, np.zeros(1, int), 1)
    found = score(np.array([[3, 0], [0, 1], [-1, 0], [0, 0]], dtype=np.float32), x)
    np.testing.assert_allclose(found, [0, -math.sqrt(2), -2, -1])
    assert score.tensors()["exemplars"].tolist() == normalize_rows(x).tolist()


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_at_least_one(k: int) -> None:
    with pytest.raises(FitError, match=f"k must be at least 1, got {k}"):
        DeepNearestNeighbors(k)
