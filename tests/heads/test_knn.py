"""k-nearest neighbors: votes match the definition for every k."""

from __future__ import annotations

import math
import pickle
from typing import Any

import faiss
import numpy as np
import pytest

from whichgen.errors import FitError
from whichgen.heads.knn import PAPER_K, KnnMethod, normalize_rows


def _data(n: int, d: int, n_origins: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_origins), rng.integers(0, n_origins, n - n_origins)])
    return rng.normal(0, 1, (n, d)).astype(np.float32), labels


def _brute_force(
    exemplars: np.ndarray, labels: np.ndarray, n_origins: int, query: np.ndarray, k: int
) -> list[float]:
    """Compute the definition in plain Python."""

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        dot = math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))
        norms = [math.sqrt(math.fsum(float(x) ** 2 for x in v)) for v in (a, b)]
        return dot / (norms[0] * norms[1])

    pairs = ((cosine(e, query), int(y)) for e, y in zip(exemplars, labels, strict=True))
    ranked = sorted(pairs, reverse=True)[:k]
    votes = [0.0] * n_origins
    for similarity, label in ranked:
        votes[label] += max(similarity, 0.0)
    total = math.fsum(votes)
    return [v / total for v in votes] if total > 0 else [1 / n_origins] * n_origins


@pytest.mark.parametrize("n_origins", [2, 5])
def test_votes_match_the_definition_for_every_k(n_origins: int) -> None:
    x, y = _data(30, 6, n_origins)
    queries = _data(12, 6, n_origins, seed=1)[0]
    method = KnnMethod(values=tuple(range(1, 31)))
    swept = list(method.sweep(x, y, n_origins, [queries]))
    assert [value for value, _ in swept] == list(range(1, 31))
    for value, (probabilities,) in swept:
        expected = [_brute_force(x, y, n_origins, q, int(value)) for q in queries]
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    # Some of the thirty neighbors have negative cosines.
    assert (normalize_rows(queries) @ normalize_rows(x).T < 0).any(axis=1).all()


def test_negative_cosines_do_not_vote() -> None:
    x = np.array([[1, 0], [-1, 0.1], [-1, -0.1]], dtype=np.float32)
    head = KnnMethod().fit(x, np.array([0, 1, 1]), 2, 3)
    probabilities = head.forward(np.array([[1, 0], [0, 0]], dtype=np.float32)).probabilities
    assert probabilities[0].tolist() == [1, 0]
    assert probabilities[1].tolist() == [0.5, 0.5]
    opposite = KnnMethod().fit(x[1:], np.array([0, 1]), 2, 2)
    assert opposite.forward(x[:1]).probabilities.tolist() == [[0.5, 0.5]]


def test_feature_length_does_not_matter() -> None:
    x, y = _data(20, 8, 3)
    query = _data(5, 8, 3, seed=1)[0]
    scale = np.float32(2) ** np.arange(20, dtype=np.float32)[:, None]
    method = KnnMethod()
    head, scaled = method.fit(x, y, 3, 7), method.fit(x * scale, y, 3, 7)
    np.testing.assert_allclose(
        head.forward(query).probabilities,
        scaled.forward(query * np.float32(1000)).probabilities,
        atol=1e-6,
    )


def test_sweep_equals_one_fit_per_k() -> None:
    x, y = _data(40, 6, 3)
    queries = [_data(9, 6, 3, seed=s)[0] for s in (1, 2)]
    method = KnnMethod()
    swept = list(method.sweep(x, y, 3, queries))
    assert tuple(value for value, _ in swept) == PAPER_K == tuple(range(1, 21))
    for value, swept_probabilities in swept:
        head = method.fit(x, y, 3, value)
        for query, probabilities in zip(queries, swept_probabilities, strict=True):
            assert probabilities.dtype == np.float64
            np.testing.assert_allclose(probabilities, head.forward(query).probabilities, rtol=1e-12)


def test_one_index_and_one_search_per_query_set_serve_all_k(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    indices: list[Any] = []
    searches: list[tuple[int, int]] = []

    class CountingIndex(faiss.IndexFlatIP):  # type: ignore[misc]
        def __init__(self, d: int) -> None:
            super().__init__(d)
            indices.append(self)

        def search(self, queries: np.ndarray, k: int) -> Any:
            searches.append((len(queries), k))
            return super().search(queries, k)

    monkeypatch.setattr(faiss, "IndexFlatIP", CountingIndex)
    x, y = _data(40, 6, 3)
    queries = [_data(m, 6, 3, seed=m)[0] for m in (4, 9)]
    assert len(list(KnnMethod().sweep(x, y, 3, queries))) == 20
    assert searches == [(4, 20), (9, 20)]
    assert len(indices) == 1


def test_index_is_not_pickled() -> None:
    x, y = _data(40, 6, 3)
    head = KnnMethod().fit(x, y, 3, 5)
    expected = head.forward(x).probabilities
    copy = pickle.loads(pickle.dumps(head))
    assert "index" in vars(head) and "index" not in vars(copy)
    assert np.array_equal(copy.forward(x).probabilities, expected)


def test_values_of_k_above_the_number_of_images_are_skipped() -> None:
    x, y = _data(7, 6, 3)
    assert KnnMethod().list_candidate_values(7) == (1, 2, 3, 4, 5, 6, 7)
    assert KnnMethod(values=(9, 5, 7)).list_candidate_values(7) == (5, 7)
    assert len(list(KnnMethod().sweep(x, y, 3, [x]))) == 7
    with pytest.raises(
        FitError, match=r"k = 9 exceeds the number of training images, 7. Use a smaller k"
    ):
        KnnMethod(values=(9, 12)).list_candidate_values(7)
    for value in (8, 0):
        with pytest.raises(
            FitError, match=f"k must be from 1 to 7, the number of training images; got {value}"
        ):
            KnnMethod().fit(x, y, 3, value)


def test_restored_head_is_identical() -> None:
    x, y = _data(20, 8, 3)
    query = _data(50, 8, 3, seed=1)[0]
    head = KnnMethod().fit(x, y, 3, 5)
    tensors = {name: t.copy() for name, t in head.tensors().items()}
    assert {name: (t.dtype, t.shape) for name, t in tensors.items()} == {
        "exemplars": (np.float32, (20, 8)),
        "labels": (np.int64, (20,)),
        "repeats": (np.int64, (20,)),
    }
    restored = KnnMethod().restore(tensors, 3, 5)
    assert restored.k == 5
    assert np.array_equal(restored.forward(query).probabilities, head.forward(query).probabilities)


def test_normalized_rows_have_unit_length_and_zeros_stay() -> None:
    x = np.array([[3, 4], [0, 0], [1e-20, 0], [1e18, 1e18]], dtype=np.float32)
    rows = normalize_rows(x)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [1, 0], [0.5**0.5, 0.5**0.5]], rtol=1e-6)
    assert x[0].tolist() == [3, 4]


@pytest.mark.parametrize("values", [(), (0,), (3, -1)])
def test_k_must_be_at_least_one(values: tuple[int, ...]) -> None:
    with pytest.raises(FitError, match="all values must be at least 1"):
        KnnMethod(values=values)
