"""Solver for a path of C: design matrix, certificate, and hard cases."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from whichgen.heads import design_matrix as design_module
from whichgen.heads.design_matrix import InMemoryDesign, StreamedDesign, build_design_matrix
from whichgen.heads.linear import PAPER_C
from whichgen.heads.solver import solve_path


def _data(
    n: int, d: int, k: int, seed: int = 0, apart: float = 0.7
) -> tuple[np.ndarray, np.ndarray]:
    """Features whose axes differ widely in length, like raw features of an encoder."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    x = rng.normal(0, apart, (k, d))[y] + rng.normal(0, 1, (n, d))
    return x * np.logspace(-2, 1.5, d) + rng.normal(0, 3, d), y


def _objective(
    solution: tuple[np.ndarray, np.ndarray] | None, x: np.ndarray, y: np.ndarray, c: float
) -> float:
    assert solution is not None
    weights, bias = solution
    logits = x @ weights.T + bias
    loss = logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]
    return float(0.5 * np.square(weights).sum() + c * loss.sum())


@pytest.mark.parametrize("shape", [(50, 7), (20, 33), (12, 12)])
def test_design_matrix_holds_the_features_in_orthogonal_axes(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(3, 2, shape)
    images = build_design_matrix(x)
    assert isinstance(images, InMemoryDesign)
    z = images.z_transposed[:-1].T
    assert np.all(images.z_transposed[-1] == 1)
    assert len(images.axes) <= min(shape[0] - 1, shape[1])
    np.testing.assert_allclose(images.center + z @ images.axes, x, atol=1e-9)
    np.testing.assert_allclose(images.axes @ images.axes.T, np.eye(len(images.axes)), atol=1e-9)
    np.testing.assert_allclose(
        images.z_transposed @ images.z_transposed.T,
        np.diag(images.column_squares),
        atol=1e-9 * images.column_squares.max(),
    )


def test_equal_images_have_no_axes() -> None:
    images = build_design_matrix(np.full((6, 4), 2.5))
    assert isinstance(images, InMemoryDesign)
    assert images.z_transposed.shape == (1, 6)
    ((weights, bias),) = solve_path(images, np.array([0, 1, 1, 2, 2, 2]), 3, [1.0], max_iter=9)
    assert np.all(weights == 0)
    np.testing.assert_allclose(np.exp(bias) / np.exp(bias).sum(), [1 / 6, 1 / 3, 1 / 2])


@given(
    n=st.integers(8, 60),
    d=st.integers(1, 40),
    k=st.integers(2, 6),
    seed=st.integers(0, 99),
    apart=st.sampled_from([0.0, 0.7, 5.0]),
)
def test_solutions_match_scikit_learn_with_a_small_tolerance(
    n: int, d: int, k: int, seed: int, apart: float
) -> None:
    x, y = _data(n, d, k, seed, apart)
    images = build_design_matrix(x)
    assert isinstance(images, InMemoryDesign)
    at = PAPER_C[:: len(PAPER_C) // 4]
    for c, solution in zip(at, solve_path(images, y, k, at, max_iter=200), strict=True):
        # The reference gets the rotated features, too: it takes too long on raw ones. For two
        # classes its penalty applies to one logit, which is twice as much.
        model = LogisticRegression(C=c * (2 if k == 2 else 1), solver="newton-cholesky", tol=1e-11)
        with warnings.catch_warnings():  # rounding prevents full convergence
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(images.z_transposed[:-1].T, y)
        weights, bias = model.coef_, model.intercept_
        if k == 2:
            weights, bias = np.vstack([-weights, weights]) / 2, np.array([-bias[0], bias[0]]) / 2
        weights = weights @ images.axes
        tight = _objective((weights, bias - weights @ images.center), x, y, c)
        assert _objective(solution, x, y, c) <= tight * (1 + 1e-6)


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
def test_random_labels_are_solved_up_to_the_largest_c(scale: float) -> None:
    """Without separation, f is large at C = 1e5 and has no digits left for the last steps."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(0, scale, (498, 24)) * np.logspace(0, -3, 24), np.arange(498) % 5
    solution = list(solve_path(build_design_matrix(x), y, 5, PAPER_C, max_iter=100))
    assert len(solution) == len(PAPER_C)
    assert None not in solution


@pytest.mark.parametrize(("n", "d"), [(50, 8), (20, 30)], ids=["long", "wide"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_streamed_design_gives_the_same_solutions(
    n: int, d: int, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = _data(n, d, 4, 5, 0.7)
    x = x.astype(dtype)
    in_memory = build_design_matrix(x)
    monkeypatch.setattr(design_module, "MAX_MEMORY", 0)
    monkeypatch.setattr(design_module, "_CHUNK_ROWS", 7)
    streamed = build_design_matrix(x)
    assert isinstance(in_memory, InMemoryDesign)
    assert isinstance(streamed, StreamedDesign)
    assert streamed.features is x
    rng = np.random.default_rng(0)
    r = len(streamed.column_squares)
    np.testing.assert_allclose(streamed.column_squares, in_memory.column_squares, rtol=1e-9)
    # The signs of the axes are arbitrary; only weights on the original features are unique.
    values = rng.normal(size=(4, n))
    z = np.hstack(
        [(x.astype(np.float64) - x.astype(np.float64).mean(0)) @ streamed.axes.T, np.ones((n, 1))]
    )
    weights = rng.normal(size=(4, r))
    np.testing.assert_allclose(streamed.compute_logits(weights), weights @ z.T, atol=1e-9)
    np.testing.assert_allclose(streamed.compute_weighted_sum(values), values @ z, atol=1e-9)
    sums, logits = streamed.transform_and_sum(
        weights, lambda rows, logits: logits * values[:, rows]
    )
    np.testing.assert_allclose(logits, weights @ z.T, atol=1e-9)
    np.testing.assert_allclose(sums, (logits * values) @ z, atol=1e-9)
    np.testing.assert_allclose(
        streamed.compute_weighted_gram(values[0]), (z.T * values[0]) @ z, atol=1e-9
    )
    for (weights, bias), (expected, expected_bias) in zip(
        solve_path(streamed, y, 4, (0.01, 1.0, 100.0), max_iter=100),
        solve_path(in_memory, y, 4, (0.01, 1.0, 100.0), max_iter=100),
        strict=True,
    ):
        np.testing.assert_allclose(weights, expected, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_allclose(bias, expected_bias, atol=1e-4 * np.abs(expected).max())
