"""The similarity indexes of a gallery, and how they are stored.

``flat`` compares a query with every vector and is exact. ``ivf`` assigns vectors to lists by their
nearest centroid and searches a few lists. faiss searches, but its file format is not used:
``faiss.read_index`` trusts what it reads. An index is stored as plain arrays (``.npy``, no pickle),
which are validated and put into a new faiss index, so that an untrusted one can at most return
wrong neighbors.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np

from whichgen.errors import GalleryError

IndexKind = Literal["flat", "ivf"]

#: The largest number of images for which the default index is exact.
MAX_FLAT_IMAGES = 100_000

#: The files of each kind of index. ``lists.npy`` holds the number of each vector's list.
INDEX_FILES: dict[IndexKind, tuple[str, ...]] = {
    "flat": ("vectors.npy",),
    "ivf": ("vectors.npy", "centroids.npy", "lists.npy"),
}

# Vectors per list on which centroids are fitted; more do not improve them.
_TRAINING_VECTORS_PER_LIST = 64
_ITERATIONS = 10


def default_kind(n_images: int) -> IndexKind:
    """``flat`` up to :data:`MAX_FLAT_IMAGES` images, ``ivf`` above."""
    return "flat" if n_images <= MAX_FLAT_IMAGES else "ivf"


def count_lists(n_images: int) -> int:
    """Return the number of lists of an ``ivf`` index: 4 √n, with at least 39 images per list.

    faiss requires 39 vectors per list to fit the centroids.
    """
    return max(1, min(round(4 * math.sqrt(n_images)), n_images // 39))


def training_size(kind: IndexKind, n_images: int) -> int:
    """Return the number of vectors that :func:`create_index` needs for training."""
    if kind == "flat":
        return 0
    return min(n_images, _TRAINING_VECTORS_PER_LIST * count_lists(n_images))


def create_index(
    kind: IndexKind, dimension: int, n_images: int, sample: np.ndarray, *, seed: int
) -> Any:
    """Create an empty faiss index of unit vectors for the inner product.

    Parameters
    ----------
    n_images
        The number of vectors that will be added.
    sample
        :func:`training_size` of the vectors: float32 array (m, dimension).
    """
    if kind == "flat":
        return faiss.IndexFlatIP(dimension)
    index = _empty_ivf(dimension, count_lists(n_images))
    index.cp.seed = seed
    index.cp.niter = _ITERATIONS
    index.cp.spherical = True
    index.cp.min_points_per_centroid = 1  # no warning for a small gallery
    index.train(np.ascontiguousarray(sample, dtype=np.float32))
    return index


def effort_candidates(kind: IndexKind, n_images: int) -> tuple[int, ...]:
    """Return the numbers of lists per search to choose from: powers of 2, then all; flat: 0."""
    if kind == "flat":
        return (0,)
    n_lists = count_lists(n_images)
    return (*(2**i for i in range(n_lists.bit_length()) if 2**i < n_lists), n_lists)


def search_index(
    index: Any, vectors: np.ndarray, k: int, effort: int
) -> tuple[np.ndarray, np.ndarray]:
    """Search an index.

    Returns
    -------
    cosines, rows
        float32 and int64 arrays (n, k), the most similar first. The row is -1 where fewer than k
        vectors were found.
    """
    if isinstance(index, faiss.IndexIVF):
        index.nprobe = effort
    cosines, rows = index.search(vectors, k)
    return cosines, rows


def write_index(index: Any, kind: IndexKind, folder: Path) -> None:
    """Write the arrays of an index (:data:`INDEX_FILES`) without copying all vectors."""
    if kind == "flat":
        np.save(folder / "vectors.npy", _view_vectors(index), allow_pickle=False)
        return
    shape = (index.ntotal, index.d)
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, shape)
    lists = np.empty(index.ntotal, np.int64)
    for i in range(index.nlist):
        size = index.invlists.list_size(i)
        rows = faiss.rev_swig_ptr(index.invlists.get_ids(i), size)
        codes = faiss.rev_swig_ptr(index.invlists.get_codes(i), size * index.invlists.code_size)
        vectors[rows] = codes.view(np.float32).reshape(size, index.d)
        lists[rows] = i
    vectors.flush()
    centroids = _view_vectors(faiss.downcast_index(index.quantizer))
    np.save(folder / "centroids.npy", centroids, allow_pickle=False)
    np.save(folder / "lists.npy", lists, allow_pickle=False)


def read_index(kind: IndexKind, folder: Path, dimension: int, n_images: int) -> Any:
    """Read and validate the arrays of an index, and return a faiss index.

    Raises
    ------
    GalleryError
        An array is missing or not valid.
    """
    vectors = _read_array(folder, "vectors", "<f4", n_images, dimension)
    if kind == "flat":
        index = faiss.IndexFlatIP(dimension)
        index.add(vectors)
        return index
    centroids = _read_array(folder, "centroids", "<f4", -1, dimension)
    index = _empty_ivf(dimension, len(centroids))
    index.quantizer.add(np.ascontiguousarray(centroids))
    index.is_trained = True
    lists = _read_array(folder, "lists", "<i8", n_images)
    if ((lists < 0) | (lists >= len(centroids))).any():
        raise GalleryError("lists.npy holds numbers of lists that do not exist")
    ends = np.cumsum(np.bincount(lists, minlength=len(centroids)))
    rows_by_list = np.split(np.argsort(lists, kind="stable"), ends[:-1])
    # Not index.add_core(), which grows the lists step by step and wastes memory.
    for i, rows in enumerate(rows_by_list):
        codes = vectors[rows].view(np.uint8)
        index.invlists.add_entries(i, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(codes))
    index.ntotal = n_images
    return index


def _empty_ivf(dimension: int, n_lists: int) -> Any:
    quantizer = faiss.IndexFlatIP(dimension)
    return faiss.IndexIVFFlat(quantizer, dimension, n_lists, faiss.METRIC_INNER_PRODUCT)


def _read_array(folder: Path, name: str, dtype: str, *shape: int) -> np.ndarray:
    """Memory-map an array, and check its dtype and shape (-1: any length) and that it is finite."""
    try:
        array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise GalleryError(f"{name}.npy can't be read ({error})") from None
    valid = array.ndim == len(shape) and all(
        expected in (-1, length) for length, expected in zip(array.shape, shape, strict=True)
    )
    if array.dtype != np.dtype(dtype) or not valid:
        raise GalleryError(f"{name}.npy holds {array.dtype} {array.shape}")
    if not np.isfinite([array.min(initial=0), array.max(initial=0)]).all():  # copies no rows
        raise GalleryError(f"{name}.npy holds NaN or infinite values")
    return np.asarray(array)


def _view_vectors(flat: Any) -> np.ndarray:
    """Return a view of the vectors of a flat index: float32 array (n, dimension)."""
    view: np.ndarray = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d)
    return view.reshape(flat.ntotal, flat.d)
