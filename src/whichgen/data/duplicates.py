"""Images that are the same, or nearly: by content digest and by perceptual hash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import faiss
import imagehash
import numpy as np

from whichgen.data.reading import decode_image, hash_image, open_image, read_bytes
from whichgen.errors import ImageError
from whichgen.progress import Progress, no_progress

#: Perceptual hashes of 64 bits that differ in at most this many are taken for the same picture.
NEAR_DISTANCE = 4


@dataclass(frozen=True)
class Fingerprint:
    """What an image file is recognized by, and what is needed to check it.

    ``perceptual`` is the 64-bit pHash (Zauner, 2010) as 8 bytes. ``error`` is the reason why the
    file can't be read; all else is empty then.
    """

    path: Path
    digest: bytes = b""
    perceptual: bytes = bytes(8)
    format: str = ""
    mode: str = ""
    size: tuple[int, int] = (0, 0)
    error: str = ""


def fingerprint_image(path: Path) -> Fingerprint:
    """Reads one file; an unreadable one gives a fingerprint with ``error`` set."""
    try:
        data = read_bytes(path)
        image = decode_image(data, str(path))
    except ImageError as error:
        return Fingerprint(path, error=str(error))
    with open_image(data) as header:
        form, mode = header.format or "", header.mode
    bits = imagehash.phash(image).hash
    return Fingerprint(path, hash_image(data), np.packbits(bits).tobytes(), form, mode, image.size)


def fingerprint_images(
    paths: Sequence[Path], *, progress: Progress = no_progress, threads: int = 4
) -> list[Fingerprint]:
    """The fingerprints of many files, in order, read by ``threads`` threads."""
    pool = ThreadPoolExecutor(threads)
    try:
        results: Iterator[Fingerprint] = pool.map(fingerprint_image, paths)
        return list(progress(results, description="Reading images", total=len(paths)))
    finally:
        # After Ctrl-C nobody waits for the files still in the queue.
        pool.shutdown(cancel_futures=True)


def find_components(n: int, links: Iterable[tuple[int, int]]) -> np.ndarray:
    """Connected components of ``n`` items under ``links``: an int64 array (n,) of group numbers."""
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in links:
        parent[root(a)] = root(b)
    return np.unique([root(i) for i in range(n)], return_inverse=True)[1].astype(np.int64)


def find_near_duplicates(
    fingerprints: Sequence[Fingerprint], distance: int = NEAR_DISTANCE
) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, whose perceptual hashes differ in at most ``distance`` of 64 bits."""
    if not fingerprints:
        return
    codes = np.frombuffer(b"".join(f.perceptual for f in fingerprints), np.uint8).reshape(-1, 8)
    index = faiss.IndexBinaryFlat(64)
    index.add(codes)
    # faiss counts distances strictly below the radius.
    limits, _, neighbors = index.range_search(codes, distance + 1)
    for i in range(len(codes)):
        for j in neighbors[limits[i] : limits[i + 1]]:
            if i < j:
                yield i, int(j)
