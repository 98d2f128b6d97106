"""Indexes: flat is exact, a stored index is restored exactly, invalid arrays are rejected."""

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
    INDEX_FILES,
    MAX_FLAT_IMAGES,
    IndexKind,
    choose_kind,
    choose_list_count,
    compute_recall,
    create_index,
    list_efforts,
    read_index,
    search_index,
    write_index,
)

from .conftest import unit

KINDS: tuple[IndexKind, ...] = get_args(IndexKind)

sizes = st.integers(1, 120)
seeds = st.integers(0, 10**6)


def build(kind: IndexKind, vectors: np.ndarray, cuts: list[int] | None = None) -> Any:
    """Build an index of vectors that are added in batches."""
    index = create_index(kind, vectors.shape, vectors.__getitem__, seed=0)
    for batch in np.split(vectors, sorted(c % (len(vectors) + 1) for c in cuts or [])):
        if len(batch):
            index.add(batch)
    return index


def exact_cosines(vectors: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """The k highest cosines of each query, computed by NumPy in float64."""
    cosines = queries.astype(np.float64) @ vectors.astype(np.float64).T
    return -np.sort(-cosines, axis=1)[:, :k]


@given(seeds, sizes, st.integers(1, 12), st.lists(st.integers(0, 200), max_size=4))
def test_flat_search_is_exact_for_any_batches(seed: int, n: int, d: int, cuts: list[int]) -> None:
    vectors, queries, k = unit(seed, n, d), unit(seed + 1, 7, d), min(10, n)
    cosines, rows = search_index(build("flat", vectors, cuts), queries, k, 0)
    np.testing.assert_allclose(cosines, exact_cosines(vectors, queries, k), atol=1e-5)
    np.testing.assert_allclose(np.einsum("qd,qkd->qk", queries, vectors[rows]), cosines, atol=1e-5)
    whole = search_index(build("flat", vectors), queries, k, 0)
    np.testing.assert_array_equal(rows, whole[1])


def test_recall_counts_missing_neighbors() -> None:
    exact = np.array([[0.9, 0.8], [0.7, 0.6], [0.5, 0.5]])
    result = np.array([[0.9, 0.1], [0.6, -np.inf], [0.5, 0.5]])
    recall = compute_recall(result, exact)
    assert recall.at_1 == pytest.approx(2 / 3)
    assert recall.at_10 == pytest.approx(4 / 6)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(seed=seeds, n=st.integers(1, 400))
def test_stored_index_is_restored_exactly(kind: IndexKind, seed: int, n: int) -> None:
    vectors, queries = unit(seed, n, 8), unit(seed + 1, 9, 8)
    index, k = build(kind, vectors), min(10, n)
    with tempfile.TemporaryDirectory() as folder:
        write_index(index, kind, Path(folder))
        assert {p.name for p in Path(folder).iterdir()} == set(INDEX_FILES[kind])
        again = read_index(kind, Path(folder), 8, n)
    for effort in list_efforts(kind, n):
        before = search_index(index, queries, k, effort)
        after = search_index(again, queries, k, effort)
        np.testing.assert_array_equal(before[1], after[1])
        np.testing.assert_array_equal(before[0], after[0])


def test_recall_grows_with_the_number_of_lists_to_1() -> None:
    vectors, queries = unit(0, 3000, 16), unit(1, 200, 16)
    exact = exact_cosines(vectors, queries, 10)
    index, ladder = build("ivf", vectors), list_efforts("ivf", 3000)
    assert ladder[-1] == choose_list_count(3000)
    shares = []
    for effort in ladder:
        _, rows = search_index(index, queries, 10, effort)
        result = np.einsum("qd,qkd->qk", queries, vectors[rows])
        shares.append(compute_recall(np.where(rows >= 0, result, -np.inf), exact).at_10)
    assert shares[-1] == 1
    assert shares[0] < 0.7
    assert shares == sorted(shares)


def test_default_kind_depends_on_the_number_of_images() -> None:
    assert [choose_kind(n) for n in (1, MAX_FLAT_IMAGES, MAX_FLAT_IMAGES + 1)] == [
        "flat",
        "flat",
        "ivf",
    ]
    assert choose_list_count(1) == 1
    assert choose_list_count(10**6) == 4000


def change_array(folder: Path, name: str, change: Any) -> None:
    array = np.load(folder / f"{name}.npy")
    np.save(folder / f"{name}.npy", change(array), allow_pickle=True)


def set_entry(row: int, value: int) -> Any:
    def change(array: np.ndarray) -> np.ndarray:
        array[row] = value
        return array

    return change


CHANGES = [
    ("flat", "vectors", lambda a: a[:-1]),
    ("flat", "vectors", lambda a: a.astype(np.float64)),
    ("flat", "vectors", lambda a: np.array([{"a": 1}], dtype=object)),
    ("ivf", "lists", set_entry(0, -1)),
    ("ivf", "lists", set_entry(0, 2**62)),
    ("ivf", "lists", lambda a: a[:-1]),
    ("ivf", "vectors", lambda a: a[:, :-1]),
    ("ivf", "centroids", lambda a: a[:, :-1]),
    ("ivf", "centroids", lambda a: a * np.nan),
    ("flat", "vectors", lambda a: a * np.inf),
    ("ivf", "vectors", lambda a: a * np.nan),
]


@pytest.mark.parametrize(("kind", "name", "change"), CHANGES)
def test_invalid_arrays_are_rejected(
    kind: IndexKind, name: str, change: Any, tmp_path: Path
) -> None:
    write_index(build(kind, unit(0, 300, 8)), kind, tmp_path)
    change_array(tmp_path, name, change)
    with pytest.raises(GalleryError, match=r"\.npy"):
        read_index(kind, tmp_path, 8, 300)


HUGE = b"{'descr': '<f4', 'fortran_order': False, 'shape': (5000000000000000000, 80000000000)}"


@pytest.mark.parametrize("header", [None, b"(" * 15, HUGE])
def test_files_that_are_not_arrays_are_rejected(header: bytes | None, tmp_path: Path) -> None:
    if header is None:
        np.savez(tmp_path / "vectors", unit(0, 300, 8))  # numpy.load would read this ZIP archive
        (tmp_path / "vectors.npz").rename(tmp_path / "vectors.npy")
    else:
        size = (len(header) + 1).to_bytes(2, "little")
        content = b"\x93NUMPY\x01\x00" + size + header + b"\n"
        (tmp_path / "vectors.npy").write_bytes(content)
    with pytest.raises(GalleryError, match=r"vectors\.npy can't be read"):
        read_index("flat", tmp_path, 8, 300)
