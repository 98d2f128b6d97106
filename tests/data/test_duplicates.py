"""Clusters of near-duplicates equal the components of all pairs, in memory for few pairs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from whichgen.data.checks import duplicates
from whichgen.data.checks.duplicates import find_components, link_near_duplicates


def pack(hashes: np.ndarray) -> list[bytes]:
    """The bytes of each row of bits, bool array (n, 64)."""
    return [row.tobytes() for row in np.packbits(hashes, axis=1)]


@pytest.mark.parametrize("pairs", [1, 2000, 10**6])
@pytest.mark.parametrize("distance", [0, 4, 9])
def test_links_have_the_components_of_all_pairs(
    monkeypatch: pytest.MonkeyPatch, pairs: int, distance: int
) -> None:
    monkeypatch.setattr(duplicates, "_MAX_PAIRS", pairs)
    rng = np.random.default_rng(0)
    centers = rng.random((20, 64)) < 0.5
    flips = rng.random((200, 64)) < 0.05
    hashes = centers[rng.integers(0, 20, 200)] ^ flips
    hashes[150:] = hashes[:50]
    near = (hashes[:, None] != hashes[None]).sum(axis=2) <= distance
    expected = find_components(200, np.argwhere(near).tolist())
    links = link_near_duplicates(pack(hashes), distance)
    assert find_components(200, links).tolist() == expected.tolist()
    assert len(links) == 200 - len(set(expected.tolist()))
    assert all(first < i for first, i in links)


def test_negative_distance_links_nothing_and_no_images_have_no_links() -> None:
    assert link_near_duplicates(pack(np.ones((3, 64), bool)), -1) == []
    assert link_near_duplicates([]) == []


def test_memory_does_not_grow_with_the_number_of_pairs() -> None:
    hashes = np.zeros((5000, 64), bool)
    rng = np.random.default_rng(0)
    hashes[np.arange(5000)[:, None], rng.integers(0, 64, (5000, 2))] = True  # 12.5 million pairs
    packed = pack(hashes)
    tracemalloc.start()
    links = link_near_duplicates(packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(links) == 4999
    assert peak < 100 * 2**20
