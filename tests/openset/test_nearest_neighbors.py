"""Distance to the k-th nearest neighbor, compared with its definition in float32 precision."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from outputs import features_only, fit

from whichgen.errors import FitError
from whichgen.heads.knn import normalize_rows
from whichgen.openset.nearest_neighbors import NearestNeighbors


def _features(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1, (n, d)).astype(np.float32)


def _brute_force(exemplars: np.ndarray, query: np.ndarray, k: int) -> float:
    """Compute the definition in plain Python."""

    def unit(row: np.ndarray) -> list[float]:
        norm = math.sqrt(math.fsum(float(v) ** 2 for v in row))
        return [float(v) / norm for v in row]

    return -sorted(math.dist(unit(e), unit(query)) for e in exemplars)[k - 1]


@pytest.mark.parametrize("k", [1, 5, 30])
@pytest.mark.parametrize("d", [6, 60])
def test_score_is_minus_the_distance_to_the_kth_neighbor(d: int, k: int) -> None:
    x, queries = _features(30, d), _features(12, d, seed=1)
    score = fit(NearestNeighbors, x, np.arange(30) % 3, 3, k=k)
    scores = score(features_only(queries))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, [_brute_force(x, q, k) for q in queries], atol=1e-6)


def test_k_is_five_or_the_number_of_exemplars() -> None:
    x, queries = _features(30, 6), _features(4, 6, seed=1)
    by_default = fit(NearestNeighbors, x, np.zeros(30, int), 1)
    np.testing.assert_allclose(
        by_default(features_only(queries)), [_brute_force(x, q, 5) for q in queries], atol=1e-6
    )
    few = fit(NearestNeighbors, x[:3], np.zeros(3, int), 1)
    assert few.k == 3
    np.testing.assert_allclose(
        few(features_only(queries)), [_brute_force(x[:3], q, 3) for q in queries], atol=1e-6
    )


@pytest.mark.parametrize("n", [3, 2000])
def test_training_image_has_distance_zero_from_itself_in_any_batch(n: int) -> None:
    # With 2000 exemplars, faiss's own distances are wrong by 1e-3.
    x = _features(n, 768)
    score = fit(NearestNeighbors, x, np.zeros(n, int), 1, k=1)
    assert score(features_only(x)).tolist() == [0] * n


def test_score_does_not_depend_on_feature_length() -> None:
    x, queries = _features(20, 8), _features(5, 8, seed=1)
    y = np.zeros(20, int)
    scale = np.float32(2) ** np.arange(20, dtype=np.float32)[:, None]
    scores = fit(NearestNeighbors, x * scale, y, 1)(features_only(queries * np.float32(1000)))
    expected = fit(NearestNeighbors, x, y, 1)(features_only(queries))
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_opposite_and_zero_features() -> None:
    x = np.array([[2, 0]], dtype=np.float32)
    score = fit(NearestNeighbors, x, np.zeros(1, int), 1)
    scores = score(features_only(np.array([[3, 0], [0, 1], [-1, 0], [0, 0]], dtype=np.float32)))
    np.testing.assert_allclose(scores, [0, -math.sqrt(2), -2, -1])
    assert score.tensors()["exemplars"].tolist() == normalize_rows(x).tolist()


def test_k_above_the_number_of_exemplars_is_rejected_on_restore() -> None:
    x = _features(3, 4)
    with pytest.raises(FitError, match=r"k must be from 1 to 3 \(the number of exemplars\), got 4"):
        NearestNeighbors.restore({"exemplars": x, "k": np.array([4])})


def test_index_is_built_once_and_not_pickled() -> None:
    x = _features(30, 6)
    score = fit(NearestNeighbors, x, np.arange(30) % 3, 3)
    index = score.index
    expected = score(features_only(x))
    assert score.index is index
    copy = pickle.loads(pickle.dumps(score))
    assert "index" not in vars(copy)
    assert np.array_equal(copy(features_only(x)), expected)
