"""Compute fingerprints of image files and find near-duplicates and connected components."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import faiss
import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from whichgen.data.images.reading import decode_image, hash_image, open_image, read_bytes
from whichgen.errors import ImageError
from whichgen.progress import Progress, no_progress

#: Largest Hamming distance of 64-bit perceptual hashes of near-duplicates.
NEAR_DISTANCE = 4

# Largest number of pairs of hashes that are compared at a time.
_MAX_PAIRS = 10**6

_T = TypeVar("_T")


@dataclass(frozen=True)
class Fingerprint:
    """Digest, perceptual hash, format, color mode and size of an image file.

    Parameters
    ----------
    digest
        20-byte digest of the file (:func:`whichgen.data.images.reading.hash_image`).
    perceptual
        64-bit perceptual hash (pHash; Zauner, 2010) as 8 bytes.
    format, mode
        Format and color mode in the file, as named by Pillow.
    size
        Width and height in pixels, after EXIF rotation.
    """

    digest: bytes
    perceptual: bytes
    format: str
    mode: str
    size: tuple[int, int]


def fingerprint_image(path: Path) -> Fingerprint:
    """Compute the fingerprint of an image file.

    Raises
    ------
    ImageError
        The file can't be read or decoded.
    """
    data = read_bytes(path)
    return make_fingerprint(data, decode_image(data, str(path)))


def make_fingerprint(data: bytes, image: Image.Image) -> Fingerprint:
    """Compute the fingerprint of a file from its content and its decoded image."""
    with open_image(data) as header:
        image_format, mode = header.format or "", header.mode
    bits = np.packbits(imagehash.phash(image).hash).tobytes()
    return Fingerprint(hash_image(data), bits, image_format, mode, image.size)


def fingerprint_images(
    paths: Sequence[Path], *, progress: Progress = no_progress
) -> list[Fingerprint | ImageError]:
    """Return the fingerprint or the :class:`ImageError` of each file, in input order."""
    return map_files(fingerprint_image, paths, progress=progress, description="Reading images")


def map_files(
    function: Callable[[Path], _T], paths: Sequence[Path], *, progress: Progress, description: str
) -> list[_T | ImageError]:
    """Apply a function to each file in a pool of four threads.

    Parameters
    ----------
    function
        Function of one path.
    paths
        Paths of the files.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).
    description
        Label of the progress bar.

    Returns
    -------
    list
        The value that each call returned, or the :class:`ImageError` that it raised, in input
        order.
    """

    def run(path: Path) -> _T | ImageError:
        try:
            return function(path)
        except ImageError as error:
            return error

    pool = ThreadPoolExecutor(4)
    results = pool.map(run, paths)
    try:
        return list(progress(results, description=description, total=len(paths)))
    finally:
        # After Ctrl-C, do not wait for files that are still in the queue.
        pool.shutdown(cancel_futures=True)


def find_components(n: int, links: Iterable[tuple[int, int]]) -> np.ndarray:
    """Find the connected components of a graph with ``n`` nodes.

    Parameters
    ----------
    n
        Number of nodes.
    links
        Undirected edges (i, j) between nodes in [0, n).

    Returns
    -------
    ndarray of shape (n,), int64
        Component number of each node. Components are numbered from 0 in ascending order of the
        largest node in each; seeded splits depend on this order.
    """
    pairs = np.array(list(links), dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    count, components = connected_components(graph, directed=False)
    last = np.zeros(count, np.int64)
    np.maximum.at(last, components, np.arange(n))
    return np.unique(last[components], return_inverse=True)[1].astype(np.int64)


def link_near_duplicates(
    fingerprints: Sequence[Fingerprint], distance: int = NEAR_DISTANCE
) -> list[tuple[int, int]]:
    """Link each image to the first image of its cluster of near-duplicates.

    A cluster is a connected component of the graph whose edges connect near-duplicates, including
    identical images. Thousands of frames of one video have millions of such pairs; time and memory
    for the clusters grow with the number of images, and the search compares at most
    :data:`_MAX_PAIRS` pairs at a time.

    Parameters
    ----------
    distance
        Maximum Hamming distance, in bits, between the perceptual hashes of near-duplicates;
        nothing is linked if it is negative.

    Returns
    -------
    list of (int, int)
        Pairs (first, i) of indices, first < i: one pair for each image except the first of each
        cluster.
    """
    if not fingerprints or distance < 0:
        return []
    codes = np.frombuffer(b"".join(f.perceptual for f in fingerprints), np.uint8).reshape(-1, 8)
    hashes, hash_of_image = np.unique(codes, axis=0, return_inverse=True)
    n = len(hashes)
    index = faiss.IndexBinaryFlat(64)
    index.add(hashes)
    clusters, step = np.arange(n), max(1, _MAX_PAIRS // n)
    for start in range(0, n, step):
        # faiss returns distances strictly below the radius.
        limits, _, neighbors = index.range_search(hashes[start : start + step], distance + 1)
        counts = (limits[1:] - limits[:-1]).astype(np.int64)
        queries = np.repeat(np.arange(start, start + len(counts)), counts)
        left, right = clusters[queries], clusters[neighbors]
        if (new := left != right).any():
            graph = coo_array((np.ones(new.sum()), (left[new], right[new])), shape=(n, n))
            clusters = connected_components(graph, directed=False)[1][clusters]
    cluster_of_image = clusters[hash_of_image.ravel()]
    _, first = np.unique(cluster_of_image, return_index=True)
    first_of_image = first[np.unique(cluster_of_image, return_inverse=True)[1].ravel()]
    return [(j, i) for i, j in enumerate(first_of_image.tolist()) if j != i]
