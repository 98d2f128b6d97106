"""Shared parts of scores: class means and selection of images."""

from __future__ import annotations

from dataclasses import make_dataclass

import numpy as np

from whichgen.openset.score import OpenSetScore, compute_class_means, select_correct

X = np.arange(8, dtype=np.float32).reshape(4, 2)
Z = np.array([[2, 1], [0, 1], [3, 1], [0, 5]], dtype=np.float32)
Y = np.array([0, 1, 1, 1])


def test_class_means_are_computed_in_float64() -> None:
    means = compute_class_means(X, Y, 2)
    assert means.tolist() == [[0, 1], [4, 5]]
    assert means.dtype == np.float64
    # In float32 the sum would lose the ones.
    x = np.float32([[2**25], [1], [1], [1]])
    assert compute_class_means(x, np.zeros(4, int), 1) == 2**23 + 0.75


def test_selected_images_have_the_largest_logit_at_their_label() -> None:
    assert select_correct(Z, Y).tolist() == [True, True, False, True]


def test_all_images_of_an_origin_without_correct_predictions_are_selected() -> None:
    logits = np.array([[0, 1], [0, 1], [0, 1], [1, 0]])
    assert select_correct(logits, np.array([0, 0, 1, 1])).tolist() == [True, True, True, False]
    assert select_correct(logits, np.array([0, 0, 0, 1])).all()


def test_score_is_restored_if_its_annotations_are_types_instead_of_strings() -> None:
    types = [("means", np.ndarray), ("spread", float)]
    score_class = make_dataclass("Length", types, bases=(OpenSetScore,), frozen=True)
    restored = score_class.restore(score_class(np.arange(3.0), 2.0).tensors())
    assert restored.means.tolist() == [0, 1, 2]
    assert restored.spread == 2
