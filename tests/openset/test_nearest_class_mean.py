"""Nearest class mean: by scikit-learn's cosines and by hand."""

from __future__ import annotations

import math

import numpy as np
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import normalize

from whichgen.openset.nearest_class_mean import Prototype


def test_the_score_is_the_largest_cosine_to_a_mean_direction() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(0.2, 1, (40, 7)) * rng.uniform(0.1, 50, (40, 1))).astype(np.float32)
    y = np.concatenate([np.arange(4), rng.integers(0, 4, 36)])
    queries = rng.normal(0, 1, (12, 7)).astype(np.float32)
    unit = normalize(x.astype(np.float64))
    means = np.array([unit[y == j].mean(axis=0) for j in range(4)])
    found = Prototype().fit(x, x, y, 4)(queries, queries)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, cosine_similarity(queries, means).max(axis=1), atol=1e-6)


def test_by_hand() -> None:
    # A long image counts as much as a short one: the first mean's direction is (1, 1).
    x = np.array([[100, 0], [0, 1], [-5, 0]], dtype=np.float32)
    score = Prototype().fit(x, x, np.array([0, 0, 1]), 2)
    queries = np.array([[2, 2], [1, 0], [-3, 0], [0, -1], [0, 0]], dtype=np.float32)
    np.testing.assert_allclose(score(queries, queries), [1, math.sqrt(0.5), 1, 0, 0], atol=1e-7)


def test_cosines_stay_within_one() -> None:
    x = np.random.default_rng(0).normal(0, 1, (300, 50)).astype(np.float32)
    score = Prototype().fit(x, x, np.arange(300), 300)
    assert score(x, x).max() <= 1


def test_images_that_cancel_out_have_no_direction() -> None:
    x = np.array([[1, 0], [-1, 0]], dtype=np.float32)
    assert Prototype().fit(x, x, np.zeros(2, int), 1)(x, x).tolist() == [0, 0]
