"""Linear probe: the optimum of its objective for every shape of the data."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from whichgen.errors import ConvergenceError, FitError
from whichgen.heads import design_matrix
from whichgen.heads.linear import PAPER_C, LinearHead, LinearMethod


def _data(n: int, d: int, n_origins: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping classes; columns of different scales and means, like features of an encoder."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_origins), rng.integers(0, n_origins, n - n_origins)])
    centers = rng.normal(0, 0.7, (n_origins, d))
    scales = np.exp(rng.normal(0, 0.7, d))
    features = (centers[labels] + rng.normal(0, 1, (n, d))) * scales + rng.normal(0, 1, d)
    return features.astype(np.float32), labels


def _objective(head: LinearHead, x: np.ndarray, y: np.ndarray, c: float) -> float:
    """½‖W‖² + C Σ [logsumexp(logits) − logit of y]; for two origins ½‖w₁ − w₀‖²."""
    logits = x.astype(np.float64) @ head.weights.T + head.bias
    loss = (logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]).sum()
    if len(head.weights) == 2:
        return float(0.5 * ((head.weights[1] - head.weights[0]) ** 2).sum() + c * loss)
    return float(0.5 * (head.weights**2).sum() + c * loss)


def _reference(x: np.ndarray, y: np.ndarray, c: float) -> LinearHead:
    """Fit scikit-learn to the raw features with a much smaller tolerance than its default."""
    model = LogisticRegression(C=c, solver="newton-cg", tol=1e-10, max_iter=10_000)
    model.fit(x.astype(np.float64), y)
    weights, bias = model.coef_, model.intercept_
    if len(bias) == 1:
        weights, bias = np.vstack([0 * weights, weights]), np.array([0.0, bias[0]])
    return LinearHead(weights, bias)


SHAPES = {"n > d": (80, 8), "n < d": (30, 60), "n = d": (20, 20)}


@pytest.mark.filterwarnings("ignore:.*[Ll]ine [Ss]earch")  # of the reference
@pytest.mark.parametrize("n_origins", [2, 5])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("c", PAPER_C[::11])
def test_optimum_matches_scikit_learn(shape: str, n_origins: int, c: float) -> None:
    x, y = _data(*SHAPES[shape], n_origins)
    head = LinearMethod().fit(x, y, n_origins, c)
    expected = _reference(x, y, c)
    best = _objective(expected, x, y, c)
    assert _objective(head, x, y, c) == pytest.approx(best, rel=1e-6)
    np.testing.assert_allclose(
        head.forward(x).probabilities, expected.forward(x).probabilities, atol=1e-4
    )


@pytest.mark.parametrize("scale", [0.01, 10.0])
def test_solution_does_not_depend_on_feature_scale(
    scale: float,
) -> None:
    x, y = _data(100, 12, 5)
    for c in (1e-2, 10.0):
        plain = LinearMethod().fit(x, y, 5, c)
        scaled = LinearMethod().fit(x * scale, y, 5, c / scale**2)
        np.testing.assert_allclose(scaled.weights * scale, plain.weights, rtol=1e-3, atol=1e-4)
        best = _objective(_reference(x, y, c), x, y, c)
        assert _objective(plain, x, y, c) == pytest.approx(best, rel=1e-6)


def test_features_with_large_offset_are_solved() -> None:
    x, y = _data(150, 12, 5)
    far = x.astype(np.float64) + 1000
    head, plain = (LinearMethod().fit(f, y, 5, 1.0) for f in (far, x))
    np.testing.assert_allclose(head.weights, plain.weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        head.forward(far).probabilities, plain.forward(x).probabilities, atol=1e-5
    )


def test_constant_feature_gets_no_weight() -> None:
    x, y = _data(60, 5, 3)
    x[:, 2] = 7
    assert np.abs(LinearMethod().fit(x, y, 3, 1.0).weights[:, 2]).max() < 1e-9
    even = LinearMethod().fit(np.zeros((60, 4)), y, 3, 1.0)
    frequencies = np.bincount(y) / 60
    np.testing.assert_allclose(
        even.forward(np.zeros((1, 4))).probabilities[0], frequencies, atol=1e-5
    )


@pytest.mark.parametrize("n_origins", [2, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_steps_from_the_optimum_increase_the_objective(shape: str, n_origins: int) -> None:
    x, y = _data(*SHAPES[shape], n_origins)
    rng = np.random.default_rng(1)
    for c in (1e-4, 1.0, 100.0):
        head = LinearMethod().fit(x, y, n_origins, c)
        best = _objective(head, x, y, c)
        for size in (1e-1, 1e-3):
            for _ in range(20):
                step = rng.normal(0, size, head.weights.shape)
                moved = LinearHead(head.weights + step, head.bias + rng.normal(0, size, n_origins))
                assert _objective(moved, x, y, c) > best


@pytest.mark.parametrize("n_origins", [2, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_sweep_equals_one_fit_per_c(shape: str, n_origins: int) -> None:
    x, y = _data(*SHAPES[shape], n_origins)
    queries = [_data(7, x.shape[1], n_origins, seed=s)[0] for s in (1, 2)]
    probe = LinearMethod()
    swept = list(probe.sweep(x, y, n_origins, queries))
    assert tuple(value for value, _ in swept) == PAPER_C
    for value, swept_probabilities in swept[::6]:
        head = probe.fit(x, y, n_origins, value)
        for query, probabilities in zip(queries, swept_probabilities, strict=True):
            assert probabilities.shape == (7, n_origins)
            np.testing.assert_allclose(probabilities, head.forward(query).probabilities, atol=1e-4)


def test_default_values_are_those_of_the_paper() -> None:
    assert len(PAPER_C) == 45
    assert PAPER_C[0] == pytest.approx(1e-6)
    assert PAPER_C[-1] == pytest.approx(1e5)
    ratios = np.array(PAPER_C[1:]) / PAPER_C[:-1]
    np.testing.assert_allclose(ratios, ratios[0])
    assert LinearMethod(values=(10.0, 0.1)).list_candidate_values(5) == (0.1, 10.0)


def test_probabilities_sum_to_one_for_extreme_logits() -> None:
    head = LinearHead(np.array([[1e4, 0.0], [0.0, 1e4], [1.0, 1.0]]), np.zeros(3))
    probabilities = head.forward(
        np.array([[1.0, -1.0], [0.0, 0.0], [-1e4, 1e4]], dtype=np.float32)
    ).probabilities
    assert probabilities.dtype == np.float64
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(probabilities[1], 1 / 3)
    assert probabilities.argmax(axis=1).tolist() == [0, 0, 1]


def test_forward_makes_no_float64_copy_of_all_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(design_matrix, "_CHUNK_ROWS", 1000)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30_000, 200)).astype(np.float32)
    head = LinearHead(rng.normal(size=(3, 200)), rng.normal(size=3))
    tracemalloc.start()
    output = head.forward(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 2  # a quarter of a copy
    np.testing.assert_allclose(output.logits, x @ head.weights.T + head.bias, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n_origins", [2, 5])
def test_restored_head_is_identical(n_origins: int) -> None:
    x, y = _data(40, 90, n_origins)
    head = LinearMethod().fit(x, y, n_origins, 0.5)
    tensors = {name: t.copy() for name, t in head.tensors().items()}
    assert {name: (t.dtype, t.shape) for name, t in tensors.items()} == {
        "weights": (np.float64, (n_origins, 90)),
        "bias": (np.float64, (n_origins,)),
    }
    restored = LinearMethod().restore(tensors, n_origins, 0.5)
    assert np.array_equal(restored.forward(x).probabilities, head.forward(x).probabilities)


@pytest.mark.parametrize("c", [1e3, 1e5])
@pytest.mark.parametrize("n_origins", [2, 5])
def test_fit_converges_on_separable_data(n_origins: int, c: float) -> None:
    for shape in ((40, 90), (60, 20)):
        x, y = _data(*shape, n_origins, seed=4)
        x[np.arange(len(x)), y] += 30
        LinearMethod().fit(x, y, n_origins, c)


def test_solver_that_does_not_converge_raises() -> None:
    x, y = _data(300, 40, 5)
    with pytest.raises(
        ConvergenceError, match=r"at C = 100000 within 0 steps\. Use smaller values"
    ):
        LinearMethod(max_iter=0).fit(x, y, 5, 1e5)


def test_sweep_goes_on_after_a_value_that_does_not_converge(
    fail_to_converge: Callable[..., None],
) -> None:
    x, y = _data(300, 40, 5)
    values = (0.01, 1.0, 100.0)
    expected = {value: LinearMethod().fit(x, y, 5, value) for value in values}
    fail_to_converge(1.0)
    path = dict(LinearMethod().fit_path(x, y, 5, values))
    assert path[1.0] is None
    for value in (0.01, 100.0):
        assert path[value] is not None
        np.testing.assert_allclose(path[value].weights, expected[value].weights, atol=1e-3)
    assert [value for value, _ in LinearMethod(values).sweep(x, y, 5, [x])] == [0.01, 100.0]


def test_head_is_not_modified_by_later_values() -> None:
    x, y = _data(60, 5, 3)
    path = LinearMethod().fit_path(x, y, 3, (0.01, 100.0))
    _, first = next(path)
    copies = first.weights.copy(), first.bias.copy()
    next(path)
    assert np.array_equal(first.weights, copies[0])
    assert np.array_equal(first.bias, copies[1])


@pytest.mark.parametrize("values", [(), (0.0,), (1.0, -1.0), (np.inf,), (np.nan,)])
def test_c_must_be_positive(values: tuple[float, ...]) -> None:
    with pytest.raises(FitError, match="all values must be positive and finite"):
        LinearMethod(values=values)


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf])
def test_fit_rejects_invalid_c(value: float) -> None:
    with pytest.raises(FitError, match="all values must be positive and finite"):
        LinearMethod().fit(np.eye(3), np.arange(3), 3, value)
