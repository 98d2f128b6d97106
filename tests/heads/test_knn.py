"""k-NN: votes by the definition, for every k from one search."""

from __future__ import annotations

import math
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
    """The definition, in plain Python."""

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
def test_votes_are_the_definition_s_for_every_k_at_once(n_origins: int) -> None:
    x, y = _data(30, 6, n_origins)
    queries = _data(12, 6, n_origins, seed=1)[0]
    family = KnnMethod(values=tuple(range(1, 31)))
    swept = list(family.sweep(x, y, n_origins, [queries]))
    assert [value for value, _ in swept] == list(range(1, 31))
    for value, (found,) in swept:
        expected = [_brute_force(x, y, n_origins, q, int(value)) for q in queries]
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    # In six dimensions the farthest of thirty have negative cosines: they were among the votes.
    assert (normalize_rows(queries) @ normalize_rows(x).T < 0).any(axis=1).all()


def test_negative_cosines_are_no_votes_and_none_at_all_is_even() -> None:
    x = np.array([[1, 0], [-1, 0.1], [-1, -0.1]], dtype=np.float32)
    head = KnnMethod().fit(x, np.array([0, 1, 1]), 2, 3)
    found = head.predict_proba(np.array([[1, 0], [0, 0]], dtype=np.float32))
    assert found[0].tolist() == [1, 0]
    assert found[1].tolist() == [0.5, 0.5]
    opposite = KnnMethod().fit(x[1:], np.array([0, 1]), 2, 2)
    assert opposite.predict_proba(x[:1]).tolist() == [[0.5, 0.5]]


def test_the_length_of_a_feature_is_no_matter() -> None:
    x, y = _data(20, 8, 3)
    query = _data(5, 8, 3, seed=1)[0]
    scale = np.float32(2) ** np.arange(20, dtype=np.float32)[:, None]
    family = KnnMethod()
    head, scaled = family.fit(x, y, 3, 7), family.fit(x * scale, y, 3, 7)
    np.testing.assert_allclose(
        head.predict_proba(query), scaled.predict_proba(query * np.float32(1000)), atol=1e-6
    )


def test_a_sweep_is_a_fit_for_each_k() -> None:
    x, y = _data(40, 6, 3)
    queries = [_data(9, 6, 3, seed=s)[0] for s in (1, 2)]
    family = KnnMethod()
    swept = list(family.sweep(x, y, 3, queries))
    assert tuple(value for value, _ in swept) == PAPER_K == tuple(range(1, 21))
    for value, probabilities in swept:
        head = family.fit(x, y, 3, value)
        for query, found in zip(queries, probabilities, strict=True):
            assert found.dtype == np.float64
            np.testing.assert_allclose(found, head.predict_proba(query), rtol=1e-12)


def test_one_search_a_query_set_serves_all_k(monkeypatch: pytest.MonkeyPatch) -> None:
    searches: list[tuple[int, int]] = []

    class Counted(faiss.IndexFlatIP):  # type: ignore[misc]
        def search(self, queries: np.ndarray, k: int) -> Any:
            searches.append((len(queries), k))
            return super().search(queries, k)

    monkeypatch.setattr(faiss, "IndexFlatIP", Counted)
    x, y = _data(40, 6, 3)
    queries = [_data(m, 6, 3, seed=m)[0] for m in (4, 9)]
    assert len(list(KnnMethod().sweep(x, y, 3, queries))) == 20
    assert searches == [(4, 20), (9, 20)]


def test_values_of_k_above_the_images_are_left_out() -> None:
    x, y = _data(7, 6, 3)
    assert KnnMethod().grid(7) == (1, 2, 3, 4, 5, 6, 7)
    assert KnnMethod(values=(9, 5, 7)).grid(7) == (5, 7)
    assert len(list(KnnMethod().sweep(x, y, 3, [x]))) == 7
    with pytest.raises(FitError, match=r"k = 9 neighbors .* only 7 training images.*--k_min"):
        KnnMethod(values=(9, 12)).grid(7)
    for value in (8, 0):
        with pytest.raises(FitError, match=f"k = {value} is not between 1 and 7"):
            KnnMethod().fit(x, y, 3, value)


def test_a_restored_head_is_the_head_to_the_bit() -> None:
    x, y = _data(20, 8, 3)
    query = _data(50, 8, 3, seed=1)[0]
    head = KnnMethod().fit(x, y, 3, 5)
    tensors = {name: t.copy() for name, t in head.tensors().items()}
    assert {name: (t.dtype, t.shape) for name, t in tensors.items()} == {
        "exemplars": (np.float32, (20, 8)),
        "labels": (np.int64, (20,)),
    }
    restored = KnnMethod().restore(tensors, 3, 5)
    assert restored.k == 5
    assert np.array_equal(restored.predict_proba(query), head.predict_proba(query))


def test_normalizing_gives_unit_rows_and_leaves_zero_alone() -> None:
    x = np.array([[3, 4], [0, 0], [1e-20, 0], [1e18, 1e18]], dtype=np.float32)
    found = normalize_rows(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0], [1, 0], [0.5**0.5, 0.5**0.5]], rtol=1e-6)
    assert x[0].tolist() == [3, 4]


@pytest.mark.parametrize("values", [(), (0,), (3, -1)])
def test_k_must_be_at_least_one(values: tuple[int, ...]) -> None:
    with pytest.raises(FitError, match="k must be at least 1"):
        KnnMethod(values=values)


def test_the_index_is_on_gpus_where_faiss_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[Any] = []
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(
        faiss, "index_cpu_to_all_gpus", lambda i: moved.append(i) or i, raising=False
    )
    x, y = _data(30, 5, 3)
    head = KnnMethod().fit(x, y, 3, 4)
    there = head.predict_proba(x)
    assert len(moved) == 1
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    assert np.array_equal(head.predict_proba(x), there)
