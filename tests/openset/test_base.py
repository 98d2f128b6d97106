"""Shared parts of scores: class means, selection of images, and validation of training data."""

from __future__ import annotations

import numpy as np
import pytest
from outputs import output

from whichgen.errors import FitError
from whichgen.openset.base import check_training_output, class_means, well_classified

X = np.arange(8, dtype=np.float32).reshape(4, 2)
Z = np.array([[2, 1], [0, 1], [3, 1], [0, 5]], dtype=np.float32)
Y = np.array([0, 1, 1, 1])


def test_class_means_are_computed_in_float64() -> None:
    means = class_means(X, Y, 2)
    assert means.tolist() == [[0, 1], [4, 5]]
    assert means.dtype == np.float64
    # In float32 the sum would lose the ones.
    assert class_means(np.float32([[2**25], [1], [1], [1]]), np.zeros(4, int), 1) == 2**23 + 0.75


def test_well_classified_images_have_the_largest_logit_at_their_label() -> None:
    assert well_classified(Z, Y).tolist() == [True, True, False, True]


def test_all_images_of_an_origin_without_correct_predictions_are_selected() -> None:
    logits = np.array([[0, 1], [0, 1], [0, 1], [1, 0]])
    assert well_classified(logits, np.array([0, 0, 1, 1])).tolist() == [True, True, True, False]
    assert well_classified(logits, np.array([0, 0, 0, 1])).all()


def test_invalid_logits_are_rejected() -> None:
    check_training_output(output(X, Z), Y, 2)
    with pytest.raises(FitError, match=r"logits have shape \(4, 3\); expected \(4, 2\)"):
        check_training_output(output(X, np.zeros((4, 3))), Y, 2)
    with pytest.raises(FitError, match=r"logits have shape \(3, 2\)"):
        check_training_output(output(X, Z[:3]), Y, 2)
    for value in (np.nan, -np.inf):
        with pytest.raises(FitError, match=r"2 of 4 rows of training logits .*first: row 2"):
            check_training_output(output(X, np.where(Z >= 3, value, Z)), Y, 2)
