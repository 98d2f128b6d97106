"""The kinds of index, and how one lies on a disk.

``flat`` compares with every vector and is exact. ``hnsw`` walks a graph of near vectors (Malkov &
Yashunin, 2018); ``ivf`` sorts vectors into lists by the nearest of some centroids and looks into a
few lists; ``ivf-sq8`` is the same with a byte a coordinate in place of four. The search is faiss's,
but its files are not: ``faiss.read_index`` trusts what it reads, down to the bounds of a graph's
links. An index is kept as plain arrays (``.npy``, no pickle) which are checked and put into a new
faiss index, so one from a stranger can do no more than give wrong neighbors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np

from whichgen.errors import GalleryError

Kind = Literal["flat", "hnsw", "ivf", "ivf-sq8"]

#: So many vectors are compared one by one; of more, lists are made.
FLAT_MOST = 100_000

#: Links of a vector in the graph (on the ground floor twice as many), and candidates looked at when
#: they are chosen.
_LINKS = 16
_CANDIDATES = 80

#: Vectors a list that centroids are fitted on, at most; more make them no better.
_FITTED_A_LIST = 64
_ROUNDS = 10

#: Rows that are moved between disk and index at once.
_STEP = 65_536


def default_kind(rows: int) -> Kind:
    """``flat`` to :data:`FLAT_MOST` rows, ``ivf`` above."""
    return "flat" if rows <= FLAT_MOST else "ivf"


def lists_of(rows: int) -> int:
    """The number of lists of an ``ivf`` index: four times the root of the rows, if they do for it.

    faiss asks for 39 vectors a list to fit centroids on.
    """
    return max(1, min(round(4 * math.sqrt(rows)), rows // 39))


def sample_size(kind: Kind, rows: int) -> int:
    """How many vectors :func:`new_index` wants to see first."""
    return min(rows, _FITTED_A_LIST * lists_of(rows)) if kind.startswith("ivf") else 0


def new_index(kind: Kind, dimension: int, rows: int, sample: np.ndarray, *, seed: int) -> Any:
    """An empty faiss index for so many unit vectors, by inner product.

    ``sample``: :func:`sample_size` of the vectors, float32 (m, dimension).
    """
    if not kind.startswith("ivf"):
        return _empty(kind, dimension, 0)
    index = _empty(kind, dimension, lists_of(rows))
    index.cp.seed = seed
    index.cp.niter = _ROUNDS
    index.cp.spherical = True
    index.cp.min_points_per_centroid = 1  # a small gallery is no reason for a warning
    index.train(np.ascontiguousarray(sample, dtype=np.float32))
    return index


def efforts(kind: Kind, rows: int) -> tuple[int, ...]:
    """Values of the effort to choose from, ascending: lists, or the graph's candidates; of flat 0.

    Each is twice the one before it.
    """
    if kind == "flat":
        return (0,)
    first, most = (16, 2048) if kind == "hnsw" else (1, lists_of(rows))
    ladder = [first]
    while ladder[-1] < most:
        ladder.append(min(most, 2 * ladder[-1]))
    return tuple(ladder)


def search(
    index: Any, kind: Kind, points: np.ndarray, k: int, effort: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines, float32 (n, k), and rows, int64 (n, k), the most alike first; where fewer than k
    are found, the row is -1."""
    if kind == "hnsw":
        index.hnsw.efSearch = max(effort, k)
    elif kind != "flat":
        index.nprobe = effort
    found: tuple[np.ndarray, np.ndarray] = index.search(points, k)
    return found


def write_arrays(index: Any, kind: Kind, folder: Path) -> tuple[str, ...]:
    """Writes the index's arrays into a folder, and gives the names of the files.

    The arrays are views of the index's own memory, or are filled list by list.
    """
    arrays: dict[str, np.ndarray] = {}
    if kind in ("flat", "hnsw"):
        flat = index if kind == "flat" else faiss.downcast_index(index.storage)
        arrays["vectors"] = _vectors(flat)
    if kind == "hnsw":
        arrays["levels"] = faiss.vector_to_array(index.hnsw.levels)
        arrays["neighbors"] = faiss.vector_to_array(index.hnsw.neighbors)
        arrays["entry"] = np.array([index.hnsw.entry_point], dtype=np.int64)
    if kind.startswith("ivf"):
        arrays["centroids"] = _vectors(faiss.downcast_index(index.quantizer))
        lists = index.invlists
        sizes = np.array([lists.list_size(i) for i in range(index.nlist)], dtype=np.int64)
        arrays["sizes"] = sizes
        _write_lists(lists, sizes, folder)
    if kind == "ivf-sq8":
        arrays["ranges"] = faiss.vector_to_array(index.sq.trained)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    return files_of(kind)


def files_of(kind: Kind) -> tuple[str, ...]:
    """The files that an index of a kind is kept in."""
    lists = ("centroids.npy", "sizes.npy", "rows.npy", "codes.npy")
    return {
        "flat": ("vectors.npy",),
        "hnsw": ("vectors.npy", "levels.npy", "neighbors.npy", "entry.npy"),
        "ivf": lists,
        "ivf-sq8": (*lists, "ranges.npy"),
    }[kind]


def read_arrays(kind: Kind, folder: Path, dimension: int, rows: int) -> Any:
    """The faiss index that :func:`write_arrays` wrote.

    Raises
    ------
    GalleryError
        An array is missing or not what it must be.
    """

    def array(name: str, dtype: str, *shape: int) -> np.ndarray:
        try:
            found = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise GalleryError(f"{name}.npy can't be read ({error})") from None
        fits = len(found.shape) == len(shape) and all(
            wanted in (-1, side) for side, wanted in zip(found.shape, shape, strict=True)
        )
        if found.dtype != np.dtype(dtype) or not fits:
            raise GalleryError(f"{name}.npy holds {found.dtype} {found.shape}")
        if found.dtype.kind == "f":
            _check_finite(name, np.asarray(found))
        return np.asarray(found)

    if kind in ("flat", "hnsw"):
        vectors = array("vectors", "<f4", rows, dimension)
        index = _empty(kind, dimension, 0)
        for start in range(0, rows, _STEP):
            (index if kind == "flat" else index.storage).add(vectors[start : start + _STEP])
        if kind == "hnsw":
            _restore_graph(index, array, rows)
        return index
    centroids = array("centroids", "<f4", -1, dimension)
    index = _empty(kind, dimension, len(centroids))
    index.quantizer.add(np.ascontiguousarray(centroids))
    if kind == "ivf-sq8":
        faiss.copy_array_to_vector(array("ranges", "<f4", 2 * dimension), index.sq.trained)
    index.is_trained = True
    _restore_lists(index, array, rows)
    return index


def _empty(kind: Kind, dimension: int, lists: int) -> Any:
    product = faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        return faiss.IndexFlatIP(dimension)
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(dimension, _LINKS, product)
        index.hnsw.efConstruction = _CANDIDATES
        return index
    centroids = faiss.IndexFlatIP(dimension)
    if kind == "ivf":
        return faiss.IndexIVFFlat(centroids, dimension, lists, product)
    byte = faiss.ScalarQuantizer.QT_8bit
    return faiss.IndexIVFScalarQuantizer(centroids, dimension, lists, byte, product)


def _vectors(flat: Any) -> np.ndarray:
    """A view of a flat index's vectors, float32 (n, d)."""
    view: np.ndarray = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d)
    return view.reshape(flat.ntotal, flat.d)


def _write_lists(lists: Any, sizes: np.ndarray, folder: Path) -> None:
    total, width = int(sizes.sum()), lists.code_size
    rows = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.int64, (total,))
    codes = np.lib.format.open_memmap(folder / "codes.npy", "w+", np.uint8, (total, width))
    for i, (start, size) in enumerate(_spans(sizes)):
        rows[start : start + size] = faiss.rev_swig_ptr(lists.get_ids(i), size)
        view = faiss.rev_swig_ptr(lists.get_codes(i), size * width)
        codes[start : start + size] = view.reshape(size, width)
    rows.flush()
    codes.flush()


def _restore_lists(index: Any, array: Callable[..., np.ndarray], total: int) -> None:
    sizes = array("sizes", "<i8", index.nlist)
    rows, codes = array("rows", "<i8", total), array("codes", "u1", total, index.code_size)
    if (sizes < 0).any() or (sizes > total).any() or sizes.sum() != total:
        raise GalleryError("sizes.npy does not add up to the number of images")
    seen = np.zeros(total, dtype=bool)
    if total and (rows.min() < 0 or rows.max() >= total):
        raise GalleryError("rows.npy names images that there are not")
    seen[rows] = True
    if not seen.all():
        raise GalleryError("rows.npy names an image twice")
    for i, (start, size) in enumerate(_spans(sizes)):
        if size:
            ids = np.ascontiguousarray(rows[start : start + size])
            content = np.ascontiguousarray(codes[start : start + size])
            if index.code_size == 4 * index.d:
                _check_finite("codes", content.view("<f4"))
            index.invlists.add_entries(i, size, faiss.swig_ptr(ids), faiss.swig_ptr(content))
    index.ntotal = total


def _check_finite(name: str, values: np.ndarray) -> None:
    for start in range(0, len(values), _STEP):
        if not np.isfinite(values[start : start + _STEP]).all():
            raise GalleryError(f"{name}.npy holds NaN or infinite values")


def _spans(sizes: np.ndarray) -> list[tuple[int, int]]:
    """Where each list begins, and its size."""
    starts = np.cumsum(sizes) - sizes
    return list(zip(starts.tolist(), sizes.tolist(), strict=True))


def _restore_graph(index: Any, array: Callable[..., np.ndarray], rows: int) -> None:
    """Links of hnsw: a vector of level L has a slot of links on each of its L floors.

    Every link must lead to a vector that is on the same floor: faiss would read beyond its links
    otherwise.
    """
    graph = index.hnsw
    levels = array("levels", "<i4", rows)
    (entry,) = array("entry", "<i8", 1).tolist()
    floors = faiss.vector_to_array(graph.cum_nneighbor_per_level)
    if (levels < 1).any() or (levels >= len(floors)).any():
        raise GalleryError("levels.npy is out of range")
    if not 0 <= entry < rows or levels[entry] != levels.max():
        raise GalleryError("entry.npy does not name a vector of the highest level")
    offsets = np.concatenate([[0], np.cumsum(floors[levels].astype(np.int64))])
    links = array("neighbors", "<i4", int(offsets[-1]))
    if (links < -1).any() or (links >= rows).any():
        raise GalleryError("neighbors.npy links to images that there are not")
    for floor in range(int(levels.max())):
        on = np.flatnonzero(levels > floor)
        for start in range(0, len(on), _STEP):
            begin = offsets[on[start : start + _STEP]]
            slots = begin[:, None] + np.arange(floors[floor], floors[floor + 1])
            reached = links[slots]
            if (levels[reached[reached >= 0]] <= floor).any():
                raise GalleryError("neighbors.npy links to a vector of a lower level")
    faiss.copy_array_to_vector(levels, graph.levels)
    faiss.copy_array_to_vector(offsets.astype(np.uint64), graph.offsets)
    faiss.copy_array_to_vector(links, graph.neighbors)
    graph.entry_point = entry
    graph.max_level = int(levels.max()) - 1
    index.ntotal = rows
