"""The kinds of index: exact where they say so, and the same after a disk."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whichgen.errors import GalleryError
from whichgen.gallery.index import (
    FLAT_MOST,
    Kind,
    default_kind,
    efforts,
    files_of,
    lists_of,
    new_index,
    read_arrays,
    sample_size,
    search,
    write_arrays,
)
from whichgen.gallery.recall import ExactSearch, compute_recall

from .conftest import unit

KINDS: tuple[Kind, ...] = get_args(Kind)

sizes = st.integers(1, 120)
seeds = st.integers(0, 10**6)


def made(kind: Kind, points: np.ndarray, cuts: list[int] | None = None) -> Any:
    """An index of points, added in the batches that the cuts make."""
    rows, dimension = points.shape
    index = new_index(kind, dimension, rows, points[: sample_size(kind, rows)], seed=0)
    for batch in np.split(points, sorted(c % (rows + 1) for c in cuts or [])):
        if len(batch):
            index.add(batch)
    return index


def brute(points: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """The k highest cosines of each query, by numpy in float64."""
    cosines = queries.astype(np.float64) @ points.astype(np.float64).T
    return -np.sort(-cosines, axis=1)[:, :k]


@given(seeds, sizes, st.integers(1, 12), st.lists(st.integers(0, 200), max_size=4))
def test_flat_is_a_search_by_hand_in_whatever_batches_it_was_made(
    seed: int, n: int, d: int, cuts: list[int]
) -> None:
    points, queries, k = unit(seed, n, d), unit(seed + 1, 7, d), min(10, n)
    cosines, rows = search(made("flat", points, cuts), "flat", queries, k, 0)
    np.testing.assert_allclose(cosines, brute(points, queries, k), atol=1e-5)
    np.testing.assert_allclose(np.einsum("qd,qkd->qk", queries, points[rows]), cosines, atol=1e-5)
    whole = search(made("flat", points), "flat", queries, k, 0)
    np.testing.assert_array_equal(rows, whole[1])


@given(seeds, sizes, st.lists(st.integers(0, 200), max_size=4))
def test_an_exact_search_of_batches_is_that_of_all_and_flat_has_all_of_it(
    seed: int, n: int, cuts: list[int]
) -> None:
    points, queries, k = unit(seed, n, 6), unit(seed + 1, 5, 6), min(10, n)
    exact = ExactSearch(queries)
    for batch in np.split(points, sorted(c % (n + 1) for c in cuts)):
        exact.add(batch)
    nearest = exact.nearest()
    np.testing.assert_allclose(nearest, brute(points, queries, k), atol=1e-5)
    _, rows = search(made("flat", points), "flat", queries, k, 0)
    found = np.einsum("qd,qkd->qk", queries, points[rows])
    recall = compute_recall(found, nearest)
    assert (recall.at_1, recall.at_10, recall.queries) == (1, 1, 5)


def test_recall_counts_what_is_missing() -> None:
    exact = np.array([[0.9, 0.8], [0.7, 0.6], [0.5, 0.5]])
    found = np.array([[0.9, 0.1], [0.6, -np.inf], [0.5, 0.5]])
    recall = compute_recall(found, exact)
    assert recall.at_1 == pytest.approx(2 / 3)
    assert recall.at_10 == pytest.approx(4 / 6)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(seed=seeds, n=st.integers(1, 400))
def test_an_index_is_the_same_after_the_disk(kind: Kind, seed: int, n: int) -> None:
    points, queries = unit(seed, n, 8), unit(seed + 1, 9, 8)
    index, k = made(kind, points), min(10, n)
    with tempfile.TemporaryDirectory() as folder:
        assert set(write_arrays(index, kind, Path(folder))) == set(files_of(kind))
        assert {p.name for p in Path(folder).iterdir()} == set(files_of(kind))
        again = read_arrays(kind, Path(folder), 8, n)
    for effort in efforts(kind, n):
        before = search(index, kind, queries, k, effort)
        after = search(again, kind, queries, k, effort)
        np.testing.assert_array_equal(before[1], after[1])
        np.testing.assert_array_equal(before[0], after[0])


def test_all_lists_are_an_exact_search_and_few_lists_find_fewer() -> None:
    points, queries = unit(0, 3000, 16), unit(1, 200, 16)
    exact = brute(points, queries, 10)
    index, ladder = made("ivf", points), efforts("ivf", 3000)
    assert ladder[-1] == lists_of(3000)
    shares = []
    for effort in ladder:
        _, rows = search(index, "ivf", queries, 10, effort)
        found = np.einsum("qd,qkd->qk", queries, points[rows])
        shares.append(compute_recall(np.where(rows >= 0, found, -np.inf), exact).at_10)
    assert shares[-1] == 1
    assert shares[0] < 0.7
    assert shares == sorted(shares)


def test_rounded_vectors_take_a_quarter_and_their_cosines_are_close(tmp_path: Path) -> None:
    points, queries = unit(0, 3000, 16), unit(1, 50, 16)
    for kind, width in (("ivf", 64), ("ivf-sq8", 16)):
        index = made(kind, points)
        (tmp_path / kind).mkdir()
        write_arrays(index, kind, tmp_path / kind)
        assert np.load(tmp_path / kind / "codes.npy").shape == (3000, width)
        cosines, rows = search(index, kind, queries, 5, lists_of(3000))
        np.testing.assert_allclose(
            cosines, np.einsum("qd,qkd->qk", queries, points[rows]), atol=0.02
        )


def test_the_kind_follows_the_number_of_rows() -> None:
    assert [default_kind(n) for n in (1, FLAT_MOST, FLAT_MOST + 1)] == ["flat", "flat", "ivf"]
    assert lists_of(1) == 1
    assert lists_of(10**6) == 4000


def _changed(folder: Path, name: str, change: Any) -> None:
    array = np.load(folder / f"{name}.npy")
    np.save(folder / f"{name}.npy", change(array), allow_pickle=True)


def _at(row: int, value: int) -> Any:
    def change(array: np.ndarray) -> np.ndarray:
        array[row] = value
        return array

    return change


LIES = [
    ("flat", "vectors", lambda a: a[:-1]),
    ("flat", "vectors", lambda a: a.astype(np.float64)),
    ("flat", "vectors", lambda a: np.array([{"a": 1}], dtype=object)),
    ("hnsw", "vectors", lambda a: a[:, :-1]),
    ("hnsw", "levels", _at(3, 0)),
    ("hnsw", "levels", _at(3, 99)),
    ("hnsw", "entry", _at(0, 300)),
    ("hnsw", "entry", _at(0, -1)),
    ("hnsw", "neighbors", _at(5, 300)),
    ("hnsw", "neighbors", _at(5, -2)),
    ("hnsw", "neighbors", lambda a: a[:-1]),
    ("ivf", "sizes", _at(0, -1)),
    ("ivf", "sizes", _at(0, 2**62)),
    ("ivf", "rows", _at(0, 300)),
    ("ivf", "rows", np.zeros_like),
    ("ivf", "codes", lambda a: a[:, :-4]),
    ("ivf", "centroids", lambda a: a[:, :-1]),
    ("ivf", "centroids", lambda a: a * np.nan),
    ("flat", "vectors", lambda a: a * np.inf),
    ("ivf", "codes", lambda a: np.full_like(a, 255)),
    ("ivf-sq8", "ranges", lambda a: a[:-1]),
    ("ivf-sq8", "ranges", lambda a: a * np.nan),
]


@pytest.mark.parametrize(("kind", "name", "change"), LIES)
def test_arrays_that_would_mislead_faiss_are_refused(
    kind: Kind, name: str, change: Any, tmp_path: Path
) -> None:
    write_arrays(made(kind, unit(0, 300, 8)), kind, tmp_path)
    _changed(tmp_path, name, change)
    with pytest.raises(GalleryError, match=r"\.npy"):
        read_arrays(kind, tmp_path, 8, 300)


def test_a_link_to_a_vector_that_is_not_on_its_floor_is_refused(tmp_path: Path) -> None:
    write_arrays(made("hnsw", unit(0, 300, 8)), "hnsw", tmp_path)
    levels = np.load(tmp_path / "levels.npy")
    high, low = int(np.flatnonzero(levels > 1)[0]), int(np.flatnonzero(levels == 1)[0])
    start = sum(32 + 16 * (int(level) - 1) for level in levels[:high])
    _changed(tmp_path, "neighbors", _at(start + 32, low))  # the first slot of its second floor
    with pytest.raises(GalleryError, match="lower level"):
        read_arrays("hnsw", tmp_path, 8, 300)
