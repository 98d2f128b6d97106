"""Find exact and near duplicates of images by content digest and perceptual hash."""

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
    """Digest, perceptual hash and header of an image file.

    ``perceptual`` is the 64-bit pHash (Zauner, 2010) as 8 bytes.
    """

    digest: bytes
    perceptual: bytes
    format: str
    mode: str
    size: tuple[int, int]


def fingerprint_image(path: Path) -> Fingerprint:
    """Read an image file and return its fingerprint; :class:`ImageError` if it is unreadable."""
    data = read_bytes(path)
    image = decode_image(data, str(path))
    with open_image(data) as header:
        image_format, mode = header.format or "", header.mode
    bits = np.packbits(imagehash.phash(image).hash).tobytes()
    return Fingerprint(hash_image(data), bits, image_format, mode, image.size)


def fingerprint_images(
    paths: Sequence[Path], *, progress: Progress = no_progress
) -> list[Fingerprint | ImageError]:
    """Return the fingerprint of each file, or why it is unreadable."""
    return map_files(fingerprint_image, paths, progress=progress, description="Reading images")


def map_files(
    function: Callable[[Path], _T],
    paths: Sequence[Path],
    *,
    progress: Progress,
    description: str,
) -> list[_T | ImageError]:
    """Apply a function to each file, in threads; return its result or its ImageError, in order."""

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
    """Return the connected component of each of ``n`` items: int64 array (n,).

    Components are numbered in the order of their last items, on which seeded splits depend.
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
    """Yield pairs (i, j), i < j, whose perceptual hashes differ in at most ``distance`` bits."""
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
