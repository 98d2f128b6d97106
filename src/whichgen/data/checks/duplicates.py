"""Find near-duplicate images by perceptual hashes, and the connected components of graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise, product

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from whichgen.data.dataset import Sample

#: Maximum Hamming distance between the 64-bit perceptual hashes of near-duplicates.
NEAR_DISTANCE = 4

#: Number of pairs of near-duplicates in memory above which their clusters are joined.
_MAX_PAIRS = 10**6

#: Maximum number of comparisons per hash, for each part of the bits, before clusters are joined for
#: the first time. Most pairs are then in one cluster and need not be compared.
_FIRST_STEPS = 16


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
        Number of the component of each node. Components are numbered from 0 in ascending order of
        their largest nodes. The random splits of a seed depend on this order.
    """
    pairs = np.array(list(links), dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    count, components = connected_components(graph, directed=False)
    last = np.zeros(count, np.int64)
    np.maximum.at(last, components, np.arange(n))
    return np.unique(last[components], return_inverse=True)[1].astype(np.int64)


def link_near_duplicates(
    perceptual_hashes: Sequence[bytes], distance: int = NEAR_DISTANCE
) -> list[tuple[int, int]]:
    """Link each image to the first image of its cluster of near-duplicates.

    A cluster is a connected component of the graph whose edges connect near-duplicates, including
    identical images. Thousands of frames of one video have millions of pairs of near-duplicates.
    Therefore, at most about one million pairs are in memory at a time, and hashes that are already
    in the same cluster are not compared with each other.

    If the bits of the hashes are divided into ``distance + 1`` parts, the hashes of near-duplicates
    are equal in at least one part. Therefore, only hashes that are equal in a part are compared
    (Manku et al., 2007).

    Parameters
    ----------
    perceptual_hashes
        Perceptual hash of each image: 8 bytes
        (:attr:`~whichgen.data.images.image_facts.ImageFacts.perceptual_hash`).
    distance
        Maximum Hamming distance, in bits, between the perceptual hashes of near-duplicates. If it
        is negative, no images are linked.

    Returns
    -------
    list of (int, int)
        Pairs of indices (first, i) with first < i: one pair for each image i, except the first
        image of each cluster.
    """
    if not perceptual_hashes or distance < 0:
        return []
    codes = np.frombuffer(b"".join(perceptual_hashes), np.uint64)
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


def find_mixed_clusters(
    samples: Sequence[Sample], clusters: Iterable[Sequence[int]], get_label: Callable[[Sample], str]
) -> tuple[int, Sample, Sample] | None:
    """Find clusters of near-duplicates whose samples have different labels.

    Parameters
    ----------
    samples
        All samples.
    clusters
        Indices of the samples in each cluster.
    get_label
        Function that returns the label of a sample: its origin or its source.

    Returns
    -------
    tuple or None
        Number of samples in these clusters, and two samples with different labels from the first of
        these clusters; ``None`` if there is no such cluster.
    """
    mixed_clusters = [c for c in clusters if len({get_label(samples[i]) for i in c}) > 1]
    if not mixed_clusters:
        return None
    first = samples[mixed_clusters[0][0]]
    other = next(samples[i] for i in mixed_clusters[0] if get_label(samples[i]) != get_label(first))
    return sum(map(len, mixed_clusters)), first, other


def _find_near_pairs(
    hashes: np.ndarray, parts: np.ndarray, clusters: np.ndarray, distance: int, max_steps: int
) -> Iterator[np.ndarray]:
    """Yield pairs of near hashes in different clusters that are equal in a part of their bits.

    The hashes are sorted by this part and by cluster. In the first step, each hash is compared with
    the hash that follows its cluster; in each further step, with the next one.

    Parameters
    ----------
    hashes, parts
        Distinct hashes, and the compared part of their bits: uint64 arrays (n,).
    clusters
        Number of the cluster of each hash: integer array (n,).
    distance
        Maximum Hamming distance of near hashes, in bits.
    max_steps
        Maximum number of steps; n steps find all pairs.

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
    n, (first, second) = len(clusters), np.concatenate([np.empty((2, 0), int), *links], axis=1)
    links.clear()
    if not len(first):
        return clusters
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1][clusters])
