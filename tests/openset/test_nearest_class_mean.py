"""Nearest class mean: scikit-learn's cosines and values computed by hand."""

from __future__ import annotations

import math

import numpy as np
from outputs import features_only, fit
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import normalize

from whichgen.openset.nearest_class_mean import NearestClassMean


def test_score_is_the_largest_cosine_to_a_mean_direction() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(0.2, 1, (40, 7)) * rng.uniform(0.1, 50, (40, 1))).astype(np.float32)
    y = np.concatenate([np.arange(4), rng.integers(0, 4, 36)])
    queries = rng.normal(0, 1, (12, 7)).astype(np.float32)
    unit = normalize(x.astype(np.float64))
    means = np.array([unit[y == j].mean(axis=0) for j in range(4)])
    scores = fit(NearestClassMean, x, y, 4)(features_only(queries))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, cosine_similarity(queries, means).max(axis=1), atol=1e-6)


def test_score_matches_values_computed_by_hand() -> None:
    # All features count with unit length: the first mean has the direction (1, 1).
    x = np.array([[100, 0], [0, 1], [-5, 0]], dtype=np.float32)
    score = fit(NearestClassMean, x, np.array([0, 0, 1]), 2)
    queries = np.array([[2, 2], [1, 0], [-3, 0], [0, -1], [0, 0]], dtype=np.float32)
    np.testing.assert_allclose(
        score(features_only(queries)), [1, math.sqrt(0.5), 1, 0, 0], atol=1e-7
    )


def test_cosines_are_at_most_one() -> None:
    x = np.random.default_rng(0).normal(0, 1, (300, 50)).astype(np.float32)
    score = fit(NearestClassMean, x, np.arange(300), 300)
    assert score(features_only(x)).max() <= 1


def test_opposite_images_have_no_mean_direction() -> None:
    x = np.array([[1, 0], [-1, 0]], dtype=np.float32)
    assert fit(NearestClassMean, x, np.zeros(2, int), 1)(features_only(x)).tolist() == [0, 0]
