"""Nearest class mean and Hopfield energy: scikit-learn's cosines, loops and values by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from outputs import features_only, fit, output
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import normalize

from whichgen.openset.prototypes import Hopfield, NearestClassMean


def test_nearest_class_mean_is_the_largest_cosine_to_a_mean_direction() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(0.2, 1, (40, 7)) * rng.uniform(0.1, 50, (40, 1))).astype(np.float32)
    y = np.concatenate([np.arange(4), rng.integers(0, 4, 36)])
    queries = rng.normal(0, 1, (12, 7)).astype(np.float32)
    unit = normalize(x.astype(np.float64))
    means = np.array([unit[y == j].mean(axis=0) for j in range(4)])
    scores = fit(NearestClassMean, x, y, 4)(features_only(queries))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, cosine_similarity(queries, means).max(axis=1), atol=1e-6)


def test_nearest_class_mean_matches_values_computed_by_hand() -> None:
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


def test_hopfield_matches_values_computed_by_hand() -> None:
    x = np.array([[2, 0], [4, 0], [0, 3], [9, 9]], dtype=np.float32)
    logits = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], dtype=np.float32)
    # The last image is misclassified and in no pattern; the patterns are (3, 0) and (0, 3).
    score = Hopfield.fit(output(x, logits), np.array([0, 0, 1, 1]), 2)
    queries = np.array([[1, 10], [1, 10], [-1, 0]], dtype=np.float32)
    scores = score(output(queries, np.array([[2, 1], [1, 2], [0, -1]])))
    assert scores.tolist() == [3, 30, -3]
    assert scores.dtype == np.float64


def test_hopfield_has_a_pattern_for_an_origin_without_correct_predictions() -> None:
    x = np.array([[1, 0], [0, 2], [0, 4]], dtype=np.float32)
    score = Hopfield.fit(output(x, np.array([[1, 0]] * 3)), np.array([0, 1, 1]), 2)
    assert score(output(x, np.array([[0, 1]] * 3))).tolist() == [0, 6, 12]


def test_hopfield_matches_the_definition() -> None:
    rng = np.random.default_rng(0)
    x, z = rng.normal(0, 1, (60, 5)), rng.normal(0, 1, (60, 3))
    y = np.concatenate([np.arange(3), rng.integers(0, 3, 57)])
    z[np.arange(60), y] += 1
    queries, logits = rng.normal(0, 1, (9, 5)), rng.normal(0, 1, (9, 3))
    correct = [i for i in range(60) if list(z[i]).index(max(z[i])) == y[i]]
    assert 20 < len(correct) < 60
    scores = Hopfield.fit(output(x, z), y, 3)(output(queries, logits))
    for value, query, row in zip(scores, queries, logits, strict=True):
        predicted = list(row).index(max(row))
        pattern = np.mean([x[i] for i in correct if y[i] == predicted], axis=0)
        assert value == pytest.approx(float(query @ pattern))
