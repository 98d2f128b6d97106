"""Compute fingerprints of image files and find near-duplicates and connected components."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import TypeVar

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

# Number of pairs of near-duplicates in memory above which their clusters are joined.
_MAX_PAIRS = 10**6

# Number of other hashes with which each hash is compared before the first clusters are joined.
_FIRST_STEPS = 16

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
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
    identical images. Thousands of frames of one video have millions of such pairs; at most about
    :data:`_MAX_PAIRS` of them are in memory at a time, and pairs within a cluster are not compared
    again.

    Near hashes are equal in at least one of ``distance + 1`` parts of their bits. For each part,
    only hashes that are equal in this part are compared (Manku et al., 2007).

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
    codes = np.frombuffer(b"".join(f.perceptual for f in fingerprints), np.uint64)
    hashes, hash_of_image = np.unique(codes, return_inverse=True)
    clusters, links = np.arange(len(hashes)), list[np.ndarray]()
    bounds = np.linspace(0, 64, distance + 2).astype(int).tolist()
    for (low, high), max_steps in product(pairwise(bounds), (_FIRST_STEPS, len(hashes))):
        parts = hashes & np.uint64((1 << high) - (1 << low))
        for pairs in _find_near_pairs(hashes, parts, clusters, distance, max_steps):
            ends = clusters[pairs]
            links.append(ends[:, ends[0] != ends[1]])
            if sum(part.shape[1] for part in links) > _MAX_PAIRS:
                clusters = _join_clusters(clusters, links)
        clusters = _join_clusters(clusters, links)
    cluster_of_image = clusters[hash_of_image.ravel()]
    _, first = np.unique(cluster_of_image, return_index=True)
    first_of_image = first[np.unique(cluster_of_image, return_inverse=True)[1].ravel()]
    return [(j, i) for i, j in enumerate(first_of_image.tolist()) if j != i]


def _find_near_pairs(
    hashes: np.ndarray, parts: np.ndarray, clusters: np.ndarray, distance: int, max_steps: int
) -> Iterator[np.ndarray]:
    """Yield pairs of near hashes of different clusters that are equal in a part of their bits.

    The hashes are sorted by part and cluster. Step s compares each hash with the hash that is s
    places after the end of its cluster.

    Parameters
    ----------
    hashes, parts
        Distinct hashes, and the compared part of their bits: uint64 arrays (n,).
    clusters
        Cluster of each hash: integer array (n,).
    distance
        Maximum Hamming distance of near hashes, in bits.
    max_steps
        Maximum number of steps; with n steps, all pairs are found.

    Yields
    ------
    int64 array (2, pairs)
        Indices of the hashes of each pair.
    """
    order = np.lexsort((clusters, parts))
    parts, clusters, hashes = parts[order], clusters[order], hashes[order]
    new_part = np.append(parts[1:] != parts[:-1], True)
    new_cluster = new_part | np.append(clusters[1:] != clusters[:-1], True)
    part_end, cluster_end = (
        ends[np.searchsorted(ends, np.arange(len(hashes)), side="right")]
        for ends in (np.flatnonzero(new_part) + 1, np.flatnonzero(new_cluster) + 1)
    )
    first = np.arange(len(hashes))
    for step in range(max_steps):
        second = cluster_end[first] + step
        in_part = second < part_end[first]
        first, second = first[in_part], second[in_part]
        if not len(first):
            return
        near = np.bitwise_count(hashes[first] ^ hashes[second]) <= distance
        yield order[np.stack([first[near], second[near]])]


def _join_clusters(clusters: np.ndarray, links: list[np.ndarray]) -> np.ndarray:
    """Join linked clusters, and clear the list of links.

    Parameters
    ----------
    clusters
        Number of the cluster of each hash: integer array (n,) in [0, n).
    links
        Integer arrays (2, pairs): numbers of the clusters to join.

    Returns
    -------
    integer array (n,)
        Number of the cluster of each hash.
    """
    n, (left, right) = len(clusters), np.concatenate([np.empty((2, 0), int), *links], axis=1)
    links.clear()
    if not len(left):
        return clusters
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1][clusters])
