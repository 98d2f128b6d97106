"""Simplified Hopfield energy: by hand and by a loop."""

from __future__ import annotations

import numpy as np
import pytest

from whichgen.openset.hopfield import Hopfield


def test_by_hand() -> None:
    x = np.array([[2, 0], [4, 0], [0, 3], [9, 9]], dtype=np.float32)
    logits = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], dtype=np.float32)
    # The last is taken for origin 0, so it is in no pattern: they are (3, 0) and (0, 3).
    score = Hopfield().fit(x, logits, np.array([0, 0, 1, 1]), 2)
    queries = np.array([[1, 10], [1, 10], [-1, 0]], dtype=np.float32)
    found = score(queries, np.array([[2, 1], [1, 2], [0, -1]]))
    assert found.tolist() == [3, 30, -3]
    assert found.dtype == np.float64


def test_an_origin_that_is_never_predicted_has_a_pattern_all_the_same() -> None:
    x = np.array([[1, 0], [0, 2], [0, 4]], dtype=np.float32)
    score = Hopfield().fit(x, np.array([[1, 0]] * 3), np.array([0, 1, 1]), 2)
    assert score(x, np.array([[0, 1]] * 3)).tolist() == [0, 6, 12]


def test_the_score_is_the_definition() -> None:
    rng = np.random.default_rng(0)
    x, z = rng.normal(0, 1, (60, 5)), rng.normal(0, 1, (60, 3))
    y = np.concatenate([np.arange(3), rng.integers(0, 3, 57)])
    z[np.arange(60), y] += 1
    queries, logits = rng.normal(0, 1, (9, 5)), rng.normal(0, 1, (9, 3))
    right = [i for i in range(60) if list(z[i]).index(max(z[i])) == y[i]]
    assert 20 < len(right) < 60
    found = Hopfield().fit(x, z, y, 3)(queries, logits)
    for score, query, row in zip(found, queries, logits, strict=True):
        predicted = list(row).index(max(row))
        pattern = np.mean([x[i] for i in right if y[i] == predicted], axis=0)
        assert score == pytest.approx(float(query @ pattern))
