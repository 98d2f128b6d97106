"""What every head family has in common."""

from __future__ import annotations

import numpy as np
import pytest

from whichgen.errors import FitError
from whichgen.heads.methods import HEAD_METHODS, head_method

X = np.arange(12, dtype=np.float32).reshape(6, 2) % 5
Y = np.array([0, 1, 2, 0, 1, 2])


#: Experts want a kind for each image: test_experts.py.
PLAIN = [name for name in HEAD_METHODS if name != "experts"]


def test_families_are_found_by_name() -> None:
    assert list(HEAD_METHODS) == ["linear", "knn", "fusion", "experts"]
    assert [head_method(name).parameter for name in HEAD_METHODS] == ["C", "k", "C", "C"]
    assert all(head_method(name).name == name for name in HEAD_METHODS)
    with pytest.raises(
        FitError, match="unknown head 'svm'; there are linear, knn, fusion, experts"
    ):
        head_method("svm")


@pytest.mark.parametrize("name", HEAD_METHODS)
@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (X[:5], Y, "5 feature rows but 6 labels"),
        (X, np.array([0, 1, 1, 0, 1, 1]), r"images an origin: \[2, 4, 0\]. Each of the 3 origins"),
        (X, np.array([0, 1, 2, 3, 0, 1]), r"images an origin: \[2, 2, 1, 1\]"),
        (np.where(X == 4, np.nan, X), Y, r"[1-6] of 6 feature rows hold NaN .*row 2"),
        (np.where(X == 4, np.inf, X), Y, r"hold NaN or infinity .*--dtype float32"),
    ],
)
def test_training_data_that_can_not_be_learned_is_refused_by_fit_and_by_sweep(
    name: str, features: np.ndarray, labels: np.ndarray, message: str
) -> None:
    family = head_method(name)
    with pytest.raises(FitError, match=message):
        family.fit(features, labels, 3, 1)
    with pytest.raises(FitError, match=message):
        list(family.sweep(features, labels, 3, [X]))


@pytest.mark.parametrize("name", PLAIN)
def test_no_query_gives_no_probabilities(name: str) -> None:
    head = head_method(name).fit(X, Y, 3, 1)
    assert head.predict_proba(X[:0]).shape == (0, 3)


@pytest.mark.parametrize("name", PLAIN)
def test_the_logits_of_a_head_are_the_weighted_mean_of_its_views_up_to_a_shift_a_row(
    name: str,
) -> None:
    head = head_method(name).fit(X, Y, 3, 1)
    views = head.log_probabilities(X)
    np.testing.assert_allclose(np.exp(views).sum(axis=2), 1)
    shares = head.shares(X)
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    shift = head.logits(X) - (shares[:, :, None] * views).sum(axis=0)
    np.testing.assert_allclose(shift, shift[:, :1] * np.ones(3), atol=1e-9)
