"""Properties of every head method."""

from __future__ import annotations

import numpy as np
import pytest

from whichgen.errors import FitError
from whichgen.heads.method_registry import HEAD_METHODS, SWEEP_METHODS, make_head_method

X = np.arange(12, dtype=np.float32).reshape(6, 2) % 5
Y = np.array([0, 1, 2, 0, 1, 2])


#: Methods that need no kind for each image; experts are tested in test_experts.py.
METHODS = [name for name in HEAD_METHODS if name != "experts"]


def test_methods_are_listed_by_name() -> None:
    assert list(HEAD_METHODS) == ["linear", "knn", "fusion", "experts"]
    assert [make_head_method(name).parameter for name in HEAD_METHODS] == ["C", "k", "C", "C"]
    assert all(make_head_method(name).name == name for name in HEAD_METHODS)
    with pytest.raises(
        FitError, match=r"unknown head method 'svm'. Choose from linear, knn, fusion, experts"
    ):
        make_head_method("svm")
    assert list(SWEEP_METHODS) == ["linear", "knn"]


@pytest.mark.parametrize("name", HEAD_METHODS)
@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (X[:5], Y, "5 feature rows do not match 6 labels"),
        (
            X,
            np.array([0, 1, 1, 0, 1, 1]),
            r"1 of 3 origins have no training image \(first: label 2\)",
        ),
        (X, np.array([0, 1, 2, 3, 0, 1]), "label 3 is too large. Use labels below 3"),
        (np.where(X == 4, np.nan, X), Y, r"[1-6] of 6 feature rows contain NaN .*row 2"),
        (np.where(X == 4, np.inf, X), Y, "contain NaN or infinity .*extract the features again"),
    ],
)
def test_invalid_training_data_is_rejected(
    name: str, features: np.ndarray, labels: np.ndarray, message: str
) -> None:
    method = make_head_method(name)
    with pytest.raises(FitError, match=message):
        method.fit(features, labels, 3, 1)
    if name in SWEEP_METHODS:
        with pytest.raises(FitError, match=message):
            list(SWEEP_METHODS[name]().sweep(features, labels, 3, [X]))


@pytest.mark.parametrize("name", METHODS)
def test_empty_batch_gives_no_probabilities(name: str) -> None:
    head = make_head_method(name).fit(X, Y, 3, 1)
    assert head.forward(X[:0]).probabilities.shape == (0, 3)


@pytest.mark.parametrize("name", METHODS)
def test_logits_are_the_weighted_mean_of_views_up_to_a_constant(
    name: str,
) -> None:
    output = make_head_method(name).fit(X, Y, 3, 1).forward(X)
    np.testing.assert_allclose(np.exp(output.log_probabilities).sum(axis=2), 1)
    np.testing.assert_allclose(output.view_weights.sum(axis=0), 1)
    mean = (output.view_weights[:, :, None] * output.log_probabilities).sum(axis=0)
    shift = output.logits - mean
    np.testing.assert_allclose(shift, shift[:, :1] * np.ones(3), atol=1e-9)
