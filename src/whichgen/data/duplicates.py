"""Compute fingerprints of image files and find near-duplicates and connected components."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import faiss
import imagehash
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from whichgen.data.reading import decode_image, hash_image, open_image, read_bytes
from whichgen.errors import ImageError
from whichgen.progress import Progress, no_progress

#: Largest Hamming distance of 64-bit perceptual hashes of near-duplicates.
NEAR_DISTANCE = 4

_T = TypeVar("_T")


@dataclass(frozen=True)
class Fingerprint:
    """Digest, perceptual hash, format, color mode and size of an image file.

    Parameters
    ----------
    digest
        20-byte digest of the file (:func:`whichgen.data.reading.hash_image`).
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
    image = decode_image(data, str(path))
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


def find_near_duplicates(
    fingerprints: Sequence[Fingerprint], distance: int = NEAR_DISTANCE
) -> Iterator[tuple[int, int]]:
    """Yield the index pairs (i, j), i < j, of images that are near-duplicates or identical.

    Parameters
    ----------
    distance
        Maximum Hamming distance, in bits, between the perceptual hashes of near-duplicates.
    """
    if not fingerprints:
        return
    codes = np.frombuffer(b"".join(f.perceptual for f in fingerprints), np.uint8).reshape(-1, 8)
    index = faiss.IndexBinaryFlat(64)
    index.add(codes)
    # faiss returns distances strictly below the radius.
    limits, _, neighbors = index.range_search(codes, distance + 1)
    for i in range(len(codes)):
        for j in neighbors[limits[i] : limits[i + 1]]:
            if i < j:
                yield i, int(j)
