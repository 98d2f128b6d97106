"""Clustering metrics: definitions, and invariance to renaming."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgen.evaluation.clustering import NOISE, compute_clustering_metrics

LABELS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 3)), min_size=1, max_size=30)


def test_metrics_match_values_computed_by_hand() -> None:
    metrics = compute_clustering_metrics(np.array(list("aabb")), np.array([0, 0, 0, 1]))
    # Three groupings of 4 images: H(truth) = log 2, H(groups) = log 4 − ¾ log 3.
    mutual = log(2) - 0.75 * (log(3) - (2 / 3) * log(2))
    entropies = log(2), log(4) - 0.75 * log(3)
    assert metrics.nmi == pytest.approx(mutual / np.mean(entropies))
    assert metrics.purity == 0.75
    # Of 6 pairs, 2 share an origin, 3 a group and 1 both: expected 1, maximum 2.5.
    assert metrics.ari == pytest.approx((1 - 1) / (2.5 - 1), abs=1e-12)
    assert metrics.clustered_fraction == 1


@given(LABELS, st.permutations(range(4)))
def test_metrics_do_not_depend_on_cluster_numbers_and_image_order(
    pairs: list[tuple[str, int]], names: list[int]
) -> None:
    truth, groups = np.array([t for t, _ in pairs]), np.array([g for _, g in pairs])
    renamed = np.array([NOISE if g == NOISE else names[g] for g in groups])
    first = compute_clustering_metrics(truth, groups)
    second = compute_clustering_metrics(truth[::-1], renamed[::-1])
    assert vars(first) == pytest.approx(vars(second))
    pure = sum(
        max(sum(t == o and h == g for t, h in pairs) for o in "abc") for g in set(groups) - {NOISE}
    )
    assert first.purity == pytest.approx(pure / len(pairs))
    assert 0 <= first.nmi <= 1 + 1e-9


def test_each_noise_image_is_a_separate_cluster() -> None:
    truth = np.array(list("aabb"))
    noise = compute_clustering_metrics(truth, np.array([0, 0, NOISE, NOISE]))
    apart = compute_clustering_metrics(truth, np.array([0, 0, 1, 2]))
    assert (noise.nmi, noise.ari) == (apart.nmi, apart.ari)
    assert (noise.purity, noise.clustered_fraction) == (0.5, 0.5)
