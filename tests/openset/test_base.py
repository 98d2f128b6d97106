"""What scores share: class means, the well classified images, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from whichgen.errors import FitError
from whichgen.openset.base import LogitScore, check_training, class_means, well_classified

X = np.arange(8, dtype=np.float32).reshape(4, 2)
Z = np.array([[2, 1], [0, 1], [3, 1], [0, 5]], dtype=np.float32)
Y = np.array([0, 1, 1, 1])


def test_a_class_mean_is_of_that_class_alone_and_in_double_precision() -> None:
    found = class_means(X, Y, 2)
    assert found.tolist() == [[0, 1], [4, 5]]
    assert found.dtype == np.float64
    # In float32 the sum would lose the ones.
    assert class_means(np.float32([[2**25], [1], [1], [1]]), np.zeros(4, int), 1) == 2**23 + 0.75


def test_the_well_classified_have_the_largest_logit_at_their_label() -> None:
    assert well_classified(Z, Y).tolist() == [True, True, False, True]


def test_of_an_origin_that_is_never_right_all_images_are_taken() -> None:
    logits = np.array([[0, 1], [0, 1], [0, 1], [1, 0]])
    assert well_classified(logits, np.array([0, 0, 1, 1])).tolist() == [True, True, True, False]
    assert well_classified(logits, np.array([0, 0, 0, 1])).all()


def test_logits_that_are_not_as_they_must_be_are_refused() -> None:
    check_training(X, Z, Y, 2)
    with pytest.raises(FitError, match=r"logits of shape \(4, 3\), but there are 4 .* 2 origins"):
        check_training(X, np.zeros((4, 3)), Y, 2)
    with pytest.raises(FitError, match=r"logits of shape \(3, 2\)"):
        check_training(X, Z[:3], Y, 2)
    for value in (np.nan, -np.inf):
        with pytest.raises(FitError, match=r"2 of 4 rows of training logits .*first: row 2"):
            check_training(X, np.where(Z >= 3, value, Z), Y, 2)


def test_a_score_of_logits_is_its_own_family() -> None:
    score = LogitScore("sum", lambda logits: logits.sum(axis=1))
    assert score.fit(X, Z, Y, 2) is score
    assert score.restore(score.tensors()) is score
    assert score(X, Z).tolist() == [3, 1, 4, 5]
