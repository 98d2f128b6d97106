"""ViM: energy minus the residual, compared with scikit-learn's principal components."""

from __future__ import annotations

import numpy as np
import pytest
from outputs import output
from scipy.special import logsumexp
from sklearn.decomposition import PCA

from whichgen.openset.vim import Vim


def _data(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 1, (n, d)) * np.linspace(3, 0.2, d) + 4
    return features.astype(np.float32), rng.normal(0, 3, (n, 4)), np.arange(n) % 4


@pytest.mark.parametrize(("n", "d", "dimensions"), [(80, 8, 4), (80, 9, 4), (30, 60, 14)])
def test_score_is_the_energy_minus_the_scaled_residual(n: int, d: int, dimensions: int) -> None:
    x, z, y = _data(n, d)
    queries, logits, _ = _data(15, d, seed=1)
    score = Vim.fit(output(x, z), y, 4)
    pca = PCA(dimensions, svd_solver="full").fit(x.astype(np.float64))

    def residuals(features: np.ndarray) -> np.ndarray:
        exact = features.astype(np.float64)
        return np.linalg.norm(exact - pca.inverse_transform(pca.transform(exact)), axis=1)

    assert score.basis.shape == (dimensions, d)
    alpha = (z.max(axis=1) - z.mean(axis=1)).sum() / residuals(x).sum()
    expected = logsumexp(logits, axis=1) - alpha * residuals(queries)
    np.testing.assert_allclose(score(output(queries, logits)), expected, rtol=1e-9, atol=1e-9)


def test_both_terms_have_the_same_scale_for_centered_logits() -> None:
    x, z, y = _data(80, 8)
    z -= z.mean(axis=1, keepdims=True)
    score = Vim.fit(output(x, z), y, 4)
    virtual = logsumexp(z, axis=1) - score(output(x, z))
    np.testing.assert_allclose(virtual.mean(), z.max(axis=1).mean(), rtol=1e-9)


def test_alpha_does_not_depend_on_a_constant_added_to_logits() -> None:
    x, z, y = _data(80, 8)
    shifts = np.random.default_rng(3).normal(-500, 50, (80, 1))
    assert Vim.fit(output(x, z + shifts), y, 4).alpha == pytest.approx(
        Vim.fit(output(x, z), y, 4).alpha
    )
    # Log-probabilities are all at most 0, but alpha must be positive.
    assert Vim.fit(output(x, z - logsumexp(z, axis=1, keepdims=True)), y, 4).alpha > 0


def test_constant_columns_are_outside_the_subspace() -> None:
    x, z, y = _data(80, 8)
    wide = np.hstack([x, np.full((80, 20), 7.7, np.float32)])
    score, plain = Vim.fit(output(wide, z), y, 4), Vim.fit(output(x, z), y, 4)
    assert score.basis.shape == (4, 28)
    np.testing.assert_allclose(score(output(wide, z)), plain(output(x, z)), rtol=1e-9)
    off = wide.copy()
    off[:, -1] += 100
    assert (score(output(off, z)) < plain(output(x, z)) - 10).all()


def test_score_does_not_change_within_the_subspace() -> None:
    x, z, y = _data(80, 8)
    score = Vim.fit(output(x, z), y, 4)
    np.testing.assert_allclose(score.basis @ score.basis.T, np.eye(4), atol=1e-12)
    step = np.array([3.0, -1, 2, 9]) @ score.basis
    np.testing.assert_allclose(score(output(x + step, z)), score(output(x, z)), atol=1e-9)


@pytest.mark.parametrize("n", [1, 40])
def test_equal_images_have_no_residual(n: int) -> None:
    # The mean of forty times 0.3 is not exactly 0.3; the difference must not count as a residual.
    x, z = np.full((n, 5), 0.3), np.full((n, 1), 2.0) * [1, -1]
    score = Vim.fit(
        output(x, z[:, [0, 1]] if n > 1 else z[:, :1]), np.arange(n) % min(n, 2), min(n, 2)
    )
    assert score.basis.shape == (0, 5)
    assert score.alpha == (2 if n > 1 else 0)
