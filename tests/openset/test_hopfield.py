"""Simplified Hopfield energy: values computed by hand and by a loop."""

from __future__ import annotations

import numpy as np
import pytest
from outputs import output

from whichgen.openset.hopfield import Hopfield


def test_score_matches_values_computed_by_hand() -> None:
    x = np.array([[2, 0], [4, 0], [0, 3], [9, 9]], dtype=np.float32)
    logits = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], dtype=np.float32)
    # The last image is misclassified and in no pattern; the patterns are (3, 0) and (0, 3).
    score = Hopfield.fit(output(x, logits), np.array([0, 0, 1, 1]), 2)
    queries = np.array([[1, 10], [1, 10], [-1, 0]], dtype=np.float32)
    scores = score(output(queries, np.array([[2, 1], [1, 2], [0, -1]])))
    assert scores.tolist() == [3, 30, -3]
    assert scores.dtype == np.float64


def test_origin_without_correct_predictions_has_a_pattern() -> None:
    x = np.array([[1, 0], [0, 2], [0, 4]], dtype=np.float32)
    score = Hopfield.fit(output(x, np.array([[1, 0]] * 3)), np.array([0, 1, 1]), 2)
    assert score(output(x, np.array([[0, 1]] * 3))).tolist() == [0, 6, 12]


def test_score_matches_the_definition() -> None:
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
