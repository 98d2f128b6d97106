"""Create, search, write and read the similarity index of a gallery, and compute its recall.

A ``flat`` index compares a query with every vector and is exact. An ``ivf`` index assigns each
vector to the inverted list of its nearest centroid and searches only a few lists.

faiss performs the search, but its file format is not used, because ``faiss.read_index`` is not
meant for untrusted files. Instead, the index is stored as arrays (``.npy``, without pickle), which
are validated when they are read and added to a new faiss index. Therefore, manipulated arrays can
at most cause wrong neighbors. The messages of :class:`~whichgen.errors.GalleryError` in this module
are incomplete: :func:`whichgen.gallery.search.load_gallery` adds the name of the folder and advice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np

from whichgen.errors import GalleryError
from whichgen.heads.knn import build_cosine_index

IndexKind = Literal["flat", "ivf"]

#: Function that maps row numbers, int64 array (n,), to their unit vectors, float32 array
#: (n, dimension).
VectorReader = Callable[[np.ndarray], np.ndarray]

#: Maximum number of images for which the default index is ``flat``.
MAX_FLAT_IMAGES = 100_000

#: Files of each kind of index. ``lists.npy`` contains the list number of each vector.
INDEX_FILES: dict[IndexKind, tuple[str, ...]] = {
    "flat": ("vectors.npy",),
    "ivf": ("vectors.npy", "centroids.npy", "lists.npy"),
}

#: Maximum number of vectors per inverted list in the sample on which the centroids are fitted.
_TRAINING_VECTORS_PER_LIST = 64

#: Number of k-means iterations for fitting the centroids: the default of faiss for ``ivf``.
_ITERATIONS = 10

#: Recall of the :data:`N_NEIGHBORS` nearest neighbors that an automatically chosen effort should
#: reach.
TARGET_RECALL = 0.95

#: Number of neighbors over which recall is measured.
N_NEIGHBORS = 10

#: Maximum difference of two cosines that are considered equal, because float32 is rounded.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Recall:
    """Recall of a search: fraction, in [0, 1], of the exact nearest neighbors that it finds.

    Parameters
    ----------
    at_1
        Recall of the nearest neighbor.
    at_10
        Recall of the ten nearest neighbors, or of all images if the index has fewer than ten.
    queries
        Number of query images, which were not in the index when the recall was measured.
    """

    at_1: float
    at_10: float
    queries: int

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  # for GalleryDescription.recall


def choose_kind(n_images: int) -> IndexKind:
    """Return ``flat`` for at most :data:`MAX_FLAT_IMAGES` images, otherwise ``ivf``."""
    return "flat" if n_images <= MAX_FLAT_IMAGES else "ivf"


def choose_list_count(n_images: int) -> int:
    """Return the number of inverted lists of an ``ivf`` index.

    For n images, this is the minimum of 4 √n (rounded) and n / 39 (rounded down), but at least 1.
    faiss recommends 4 √n lists or more, and at least 39 vectors per list for fitting the centroids.
    """
    return max(1, min(round(4 * math.sqrt(n_images)), n_images // 39))


def create_index(
    kind: IndexKind, shape: tuple[int, int], read_vectors: VectorReader, *, seed: int
) -> Any:
    """Create an empty faiss index for unit vectors with the inner product as similarity.

    For ``ivf``, the centroids are fitted on a random sample of the vectors.

    Parameters
    ----------
    kind
        Kind of index.
    shape
        Number of vectors n that ``read_vectors`` can return, and their dimension. n determines the
        number of inverted lists (:func:`choose_list_count`).
    read_vectors
        Function that returns the unit vectors of rows (:data:`VectorReader`), numbered from 0 to
        n - 1; it is not called for ``flat``. Its exceptions are passed on.
    seed
        Random seed for drawing the sample and for fitting the centroids.

    Returns
    -------
    faiss.IndexFlatIP or faiss.IndexIVFFlat
        The index, without vectors.
    """
    n_images, dimension = shape
    if kind == "flat":
        return faiss.IndexFlatIP(dimension)
    n_lists = choose_list_count(n_images)
    n_sample = min(n_images, _TRAINING_VECTORS_PER_LIST * n_lists)
    sample = np.random.default_rng(seed).choice(n_images, n_sample, replace=False)
    index = _create_empty_ivf(dimension, n_lists)
    index.cp.seed = seed
    index.cp.niter = _ITERATIONS
    index.cp.spherical = True
    index.cp.min_points_per_centroid = 1  # disable the warning of faiss about few vectors
    index.train(read_vectors(np.sort(sample)))
    return index


def list_efforts(kind: IndexKind, n_images: int) -> tuple[int, ...]:
    """Return candidates for ``effort``, the number of inverted lists per search.

    For ``flat``, the only candidate is 0. For ``ivf``, the candidates are the powers of 2 below the
    number of lists (:func:`choose_list_count`), in ascending order, and then the number of lists.
    """
    if kind == "flat":
        return (0,)
    n_lists = choose_list_count(n_images)
    return (*(2**i for i in range(n_lists.bit_length()) if 2**i < n_lists), n_lists)


def search_index(
    index: Any, vectors: np.ndarray, k: int, effort: int
) -> tuple[np.ndarray, np.ndarray]:
    """Search for the ``k`` nearest neighbors of each query vector.

    Parameters
    ----------
    index
        faiss index created by :func:`create_index` or :func:`read_index`.
    vectors
        Query vectors: float32 array (n, dimension).
    k
        Number of neighbors per query vector.
    effort
        Number of inverted lists to search, ≥ 1; ignored for a ``flat`` index.

    Returns
    -------
    cosines, rows
        Cosine similarities and row numbers of the neighbors: float32 and int64 arrays (n, k), most
        similar first. If a query has fewer than ``k`` neighbors in the searched lists, the missing
        row numbers are -1, and the missing cosines are the lowest float32 number.
    """
    if isinstance(index, faiss.IndexIVF):
        index.nprobe = effort
    cosines, rows = index.search(vectors, k)
    return cosines, rows


def compute_recall(cosines: np.ndarray, exact_cosines: np.ndarray) -> Recall:
    """Compute the recall of a search for the k nearest neighbors.

    Neighbors that are as similar as the k-th exact neighbor count as correct. For
    :attr:`Recall.at_1`, the most similar neighbor counts as correct if it is as similar as the
    first exact neighbor. k is at most :data:`N_NEIGHBORS`.

    Parameters
    ----------
    cosines
        Cosine similarities of the neighbors that the search finds for each of m ≥ 1 query images:
        float32 array (m, k). The value of a missing neighbor is below -1.
    exact_cosines
        Cosine similarities of the exact nearest neighbors of each query image, in descending order:
        float32 array (m, k).
    """
    at_1 = cosines.max(axis=1) >= exact_cosines[:, 0] - _TOLERANCE
    at_10 = cosines >= exact_cosines[:, -1:] - _TOLERANCE
    return Recall(float(at_1.mean()), float(at_10.mean()), len(cosines))


def write_index(index: Any, kind: IndexKind, folder: Path) -> None:
    """Write the arrays of an index without copying its vectors in memory.

    Parameters
    ----------
    index
        faiss index created by :func:`create_index`.
    kind
        Kind of index, which determines the files (:data:`INDEX_FILES`).
    folder
        Existing folder for the files.

    Raises
    ------
    OSError
        A file can't be written.
    """
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
    """Read and validate the arrays of an index, and return a faiss index of the vectors.

    Parameters
    ----------
    kind
        Kind of index.
    folder
        Folder of the gallery.
    dimension, n_images
        Expected dimension and number of vectors.

    Raises
    ------
    GalleryError
        An array is missing, unreadable, or has an invalid dtype, shape or value.
    """
    vectors = _read_array(folder, "vectors", "<f4", n_images, dimension)
    if kind == "flat":
        return build_cosine_index(vectors)
    centroids = _read_array(folder, "centroids", "<f4", -1, dimension)
    index = _create_empty_ivf(dimension, len(centroids))
    index.quantizer.add(np.ascontiguousarray(centroids))
    index.is_trained = True
    lists = _read_array(folder, "lists", "<i8", n_images)
    if ((lists < 0) | (lists >= len(centroids))).any():
        raise GalleryError(f"lists.npy must contain numbers from 0 to {len(centroids) - 1}")
    ends = np.cumsum(np.bincount(lists, minlength=len(centroids)))
    rows_by_list = np.split(np.argsort(lists, kind="stable"), ends[:-1])
    # Add each list at once: index.add_core() enlarges the lists step by step, which wastes memory.
    for i, rows in enumerate(rows_by_list):
        codes = vectors[rows].view(np.uint8)
        index.invlists.add_entries(i, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(codes))
    index.ntotal = n_images
    return index


def _create_empty_ivf(dimension: int, n_lists: int) -> Any:
    """Create an ``ivf`` index without centroids or vectors."""
    quantizer = faiss.IndexFlatIP(dimension)
    return faiss.IndexIVFFlat(quantizer, dimension, n_lists, faiss.METRIC_INNER_PRODUCT)


def _read_array(folder: Path, name: str, dtype: str, *shape: int) -> np.ndarray:
    """Memory-map ``<name>.npy``, and check its dtype, its shape and that all values are finite.

    In ``shape``, -1 denotes any length.

    Raises
    ------
    GalleryError
        The array can't be read, or a check fails.
    """
    try:
        array = np.lib.format.open_memmap(folder / f"{name}.npy", mode="r")
    except Exception as error:  # an untrusted file can cause any exception
        raise GalleryError(f"{name}.npy can't be read ({error})") from None
    has_shape = array.ndim == len(shape) and all(
        expected in (-1, length) for length, expected in zip(array.shape, shape, strict=True)
    )
    if array.dtype != np.dtype(dtype) or not has_shape:
        raise GalleryError(
            f"{name}.npy has dtype {array.dtype} and shape {array.shape}, expected "
            f"{np.dtype(dtype)} and {str(shape).replace('-1', 'any')}"
        )
    # The minimum and the maximum are NaN or infinite if any value is; this needs no second array.
    if not np.isfinite([array.min(initial=0), array.max(initial=0)]).all():
        raise GalleryError(f"{name}.npy contains NaN or infinity")
    return np.asarray(array)


def _view_vectors(flat: Any) -> np.ndarray:
    """Return a view of the vectors of a flat index: float32 array (n, dimension)."""
    view: np.ndarray = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d)
    return view.reshape(flat.ntotal, flat.d)
