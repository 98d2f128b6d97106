"""ViM: energy minus the residual, by scikit-learn's principal components."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.decomposition import PCA

from whichgen.openset.logit import energy
from whichgen.openset.vim import Vim


def _data(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 1, (n, d)) * np.linspace(3, 0.2, d) + 4
    return features.astype(np.float32), rng.normal(0, 3, (n, 4)), np.arange(n) % 4


@pytest.mark.parametrize(("n", "d", "dimensions"), [(80, 8, 4), (80, 9, 4), (30, 60, 14)])
def test_the_score_is_the_energy_minus_the_residual_at_the_logits_scale(
    n: int, d: int, dimensions: int
) -> None:
    x, z, y = _data(n, d)
    queries, logits, _ = _data(15, d, seed=1)
    score = Vim().fit(x, z, y, 4)
    pca = PCA(dimensions, svd_solver="full").fit(x.astype(np.float64))

    def residuals(features: np.ndarray) -> np.ndarray:
        exact = features.astype(np.float64)
        return np.linalg.norm(exact - pca.inverse_transform(pca.transform(exact)), axis=1)

    assert score.basis.shape == (dimensions, d)
    alpha = (z.max(axis=1) - z.mean(axis=1)).sum() / residuals(x).sum()
    expected = logsumexp(logits, axis=1) - alpha * residuals(queries)
    np.testing.assert_allclose(score(queries, logits), expected, rtol=1e-9, atol=1e-9)


def test_for_logits_that_sum_to_zero_the_terms_are_alike_in_size_as_the_paper_has_it() -> None:
    x, z, y = _data(80, 8)
    z -= z.mean(axis=1, keepdims=True)
    score = Vim().fit(x, z, y, 4)
    virtual = energy(z) - score(x, z)
    np.testing.assert_allclose(virtual.mean(), z.max(axis=1).mean(), rtol=1e-9)


def test_a_constant_added_to_the_logits_is_no_matter_to_alpha() -> None:
    x, z, y = _data(80, 8)
    shifts = np.random.default_rng(3).normal(-500, 50, (80, 1))
    assert Vim().fit(x, z + shifts, y, 4).alpha == pytest.approx(Vim().fit(x, z, y, 4).alpha)
    # Log-probabilities are at most 0: a residual must cost all the same.
    assert Vim().fit(x, z - logsumexp(z, axis=1, keepdims=True), y, 4).alpha > 0


def test_constant_columns_span_nothing() -> None:
    x, z, y = _data(80, 8)
    wide = np.hstack([x, np.full((80, 20), 7.7, np.float32)])
    score, plain = Vim().fit(wide, z, y, 4), Vim().fit(x, z, y, 4)
    assert score.basis.shape == (4, 28)
    np.testing.assert_allclose(score(wide, z), plain(x, z), rtol=1e-9)
    off = wide.copy()
    off[:, -1] += 100
    assert (score(off, z) < plain(x, z) - 10).all()


def test_a_step_within_the_subspace_is_no_matter() -> None:
    x, z, y = _data(80, 8)
    score = Vim().fit(x, z, y, 4)
    np.testing.assert_allclose(score.basis @ score.basis.T, np.eye(4), atol=1e-12)
    step = np.array([3.0, -1, 2, 9]) @ score.basis
    np.testing.assert_allclose(score(x + step, z), score(x, z), atol=1e-9)


@pytest.mark.parametrize("n", [1, 40])
def test_images_that_are_all_one_have_no_residual_to_compare_with(n: int) -> None:
    # A mean of forty 0.3's is not 0.3: what is left is no residual.
    x, z = np.full((n, 5), 0.3), np.full((n, 1), 2.0) * [1, -1]
    score = Vim().fit(x, z[:, [0, 1]] if n > 1 else z[:, :1], np.arange(n) % min(n, 2), min(n, 2))
    assert score.basis.shape == (0, 5)
    assert score.alpha == (2 if n > 1 else 0)
