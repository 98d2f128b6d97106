"""Class balancing of the reference implementation: the same results as with repeated rows."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from whichgen.errors import FitError
from whichgen.heads import solver
from whichgen.heads.class_balance import balance_classes, count_repeats
from whichgen.heads.fusion import FusionMethod
from whichgen.heads.knn import KnnHead, KnnMethod, normalize_rows
from whichgen.heads.linear import PAPER_C, LinearMethod


def _data(seed: int = 0, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping classes of 31, 7, 19 and 11 images, in mixed order."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(4), (31, 7, 19, 11)))
    return (rng.normal(0, 0.8, (4, d))[y] + rng.normal(0, 1, (len(y), d))).astype(np.float32), y


def _repeat_rows(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows as the reference implementation's ``ImageDataset(balance=True)`` yields them."""
    classes = [np.flatnonzero(y == label) for label in sorted(set(y.tolist()))]
    length = max(map(len, classes))
    rows = [rows_of[index % len(rows_of)] for index in range(length) for rows_of in classes]
    return x[rows], y[rows]


def test_first_images_of_a_class_occur_once_more() -> None:
    labels = np.array([0, 1, 0, 2, 0, 1, 0, 0])
    assert count_repeats(labels, 3).tolist() == [1, 3, 1, 5, 1, 2, 1, 1]
    _, y = _data()
    totals = np.bincount(y, count_repeats(y, 4))
    assert totals.tolist() == [31] * 4


@pytest.mark.parametrize("shape", ["tall", "wide"])
@pytest.mark.parametrize("c", [0.01, 1.0, 300.0])
def test_linear_probe_equals_scikit_learn_on_repeated_rows(c: float, shape: str) -> None:
    x, y = _data(d=6 if shape == "tall" else 90)
    queries = _data(1, x.shape[1])[0]
    probe = LogisticRegression(C=c, tol=1e-12, max_iter=10_000, solver="newton-cg")
    expected = probe.fit(*_repeat_rows(x.astype(np.float64), y)).predict_proba(queries)
    head = LinearMethod(balanced=True).fit(x, y, 4, c)
    np.testing.assert_allclose(head.forward(queries).probabilities, expected, atol=2e-5)
    plain = LinearMethod().fit(x, y, 4, c).forward(queries).probabilities
    assert np.abs(plain - expected).max() > 0.01


@pytest.mark.parametrize("d", [6, 90])
def test_sweep_takes_the_steps_of_a_sweep_over_repeated_rows(
    d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = _data(d=d)
    multiply, rows = solver._Problem.multiply_hessian, list[int]()

    def count_rows(problem: Any, step: np.ndarray, p: np.ndarray, weighted_p: np.ndarray) -> Any:
        rows.append(p.shape[1])
        return multiply(problem, step, p, weighted_p)

    monkeypatch.setattr(solver._Problem, "multiply_hessian", count_rows)
    repeated = list(LinearMethod(PAPER_C).fit_path(*_repeat_rows(x, y), 4, PAPER_C))
    n_repeated, _ = len(rows), rows.clear()
    balanced = list(LinearMethod(PAPER_C, balanced=True).fit_path(x, y, 4, PAPER_C))
    assert set(rows) == {len(x)}
    assert len(rows) < 1.05 * n_repeated
    for (_, head), (_, expected) in zip(balanced, repeated, strict=True):
        assert head
        assert expected
        probabilities = expected.forward(x).probabilities
        np.testing.assert_allclose(head.forward(x).probabilities, probabilities, atol=1e-4)


def test_two_classes_equal_scikit_learn_on_repeated_rows() -> None:
    x, y = _data()
    x, y = x[y < 2], y[y < 2]
    probe = LogisticRegression(C=3.0, tol=1e-12, max_iter=10_000)
    expected = probe.fit(*_repeat_rows(x.astype(np.float64), y)).predict_proba(x)
    head = LinearMethod(balanced=True).fit(x, y, 2, 3.0)
    np.testing.assert_allclose(head.forward(x).probabilities, expected, atol=1e-5)


def test_streamed_features_give_the_same_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = _data()
    method = LinearMethod(balanced=True)
    weights = method.fit(x, y, 4, 1.0).weights
    monkeypatch.setattr("whichgen.heads.design_matrix.MAX_MEMORY", 0)
    monkeypatch.setattr("whichgen.heads.design_matrix._CHUNK_ROWS", 10)
    np.testing.assert_allclose(method.fit(x, y, 4, 1.0).weights, weights, atol=1e-8)


def test_knn_equals_a_search_among_repeated_rows() -> None:
    x, y = _data()
    queries = normalize_rows(_data(1)[0])
    rows, labels = _repeat_rows(x, y)
    index: Any = faiss.IndexFlatIP(x.shape[1])
    index.add(normalize_rows(rows))
    method = KnnMethod(values=tuple(range(1, 31)), balanced=True)
    swept = dict(method.sweep(x, y, 4, [queries]))
    for k in method.values:
        cosines, nearest = index.search(queries, k)
        votes = np.zeros((len(queries), 4))
        np.add.at(votes, (np.arange(len(queries))[:, None], labels[nearest]), cosines.clip(0))
        expected = votes / votes.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(swept[k][0], expected, atol=1e-6)
        head = method.fit(x, y, 4, k)
        np.testing.assert_allclose(head.forward(queries).probabilities, expected, atol=1e-6)
    assert np.abs(swept[9][0] - dict(KnnMethod().sweep(x, y, 4, [queries]))[9][0]).max() > 0.1


def test_restored_head_keeps_its_repeats_and_old_models_have_none() -> None:
    x, y = _data()
    method = KnnMethod(balanced=True)
    head = method.fit(x, y, 4, 5)
    expected = head.forward(x).probabilities
    restored = KnnMethod().restore(head.tensors(), 4, 5)
    assert np.array_equal(restored.forward(x).probabilities, expected)
    old = {name: array for name, array in head.tensors().items() if name != "repeats"}
    plain = KnnMethod().fit(x, y, 4, 5).forward(x).probabilities
    assert np.array_equal(KnnMethod().restore(old, 4, 5).forward(x).probabilities, plain)


@pytest.mark.parametrize(
    "repeats", [np.zeros(68, np.int64), np.ones(67, np.int64), np.ones(68), np.ones((68, 1), int)]
)
def test_invalid_repeats_are_rejected(repeats: np.ndarray) -> None:
    tensors = KnnMethod().fit(*_data(), 4, 5).tensors() | {"repeats": repeats}
    with pytest.raises(FitError, match="'repeats' must contain one positive integer for each"):
        KnnMethod().restore(tensors, 4, 5)


def test_huge_repeats_fill_all_places() -> None:
    x, y = _data()
    tensors = KnnMethod().fit(x, y, 4, 5).tensors()
    huge = np.full(68, np.iinfo(np.int64).max)
    head = KnnMethod().restore(tensors | {"repeats": huge}, 4, 5)
    assert isinstance(head, KnnHead)
    cosines, labels = head.find_neighbors(x)
    assert (labels == y[:, None]).all()
    assert (cosines == cosines[:, :1]).all()


def test_method_without_balancing_is_rejected() -> None:
    with pytest.raises(FitError, match="'fusion' can't balance classes"):
        balance_classes(FusionMethod((2,), 0.1))
