"""Mixtures: scipy's and scikit-learn's densities, and few or equal images."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from whichgen.errors import FitError
from whichgen.openset.gaussian_mixture import Gaussians


def _data(n: int, d: int, n_origins: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two lumps an origin, columns of different scales and means."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_origins), rng.integers(0, n_origins, n - n_origins)])
    centers = np.random.default_rng(8).normal(0, 3, (2, n_origins, d))
    features = centers[rng.integers(0, 2, n), labels] + rng.normal(0, 1, (n, d))
    return (features * np.linspace(0.2, 30, d) + 5).astype(np.float32), labels


def test_one_component_is_scipy_s_normal_density_of_the_best_origin() -> None:
    x, y = _data(50, 6, 3)
    queries = _data(12, 6, 3, seed=1)[0]
    exact = x.astype(np.float64)
    u, v = ((a - exact.mean(axis=0)) / exact.std(axis=0) for a in (exact, queries))
    densities = [
        multivariate_normal(u[y == j].mean(axis=0), np.diag(u[y == j].var(axis=0) + 0.1)).logpdf(v)
        for j in range(3)
    ]
    found = Gaussians(components=1).fit(x, x, y, 3)(queries, queries)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.max(densities, axis=0), rtol=1e-6)


def test_more_components_are_scikit_learn_s_mixture() -> None:
    x, y = _data(90, 6, 3)
    queries = _data(12, 6, 3, seed=1)[0]
    score = Gaussians().fit(x, x, y, 3)
    assert np.bincount(score.origins).tolist() == [2, 2, 2]
    v = (queries - x.mean(axis=0, dtype=float)) / x.std(axis=0, dtype=float)
    densities = []
    for origin in range(3):
        of = score.origins == origin
        mixture = GaussianMixture(2, covariance_type="diag")
        mixture.weights_, mixture.means_ = score.weights[of], score.means[of]
        mixture.covariances_ = score.variances[of]
        mixture.precisions_cholesky_ = score.variances[of] ** -0.5
        densities.append(mixture.score_samples(v))
    np.testing.assert_allclose(score(queries, queries), np.max(densities, axis=0), rtol=1e-9)
    # Two lumps are better told by two components than by one.
    single = Gaussians(components=1).fit(x, x, y, 3)
    assert score(x, x).mean() > single(x, x).mean() + 1


def test_a_mixture_is_where_expectation_maximization_stands_still() -> None:
    x, y = _data(90, 6, 3)
    score = Gaussians().fit(x, x, y, 3)
    u = (x - score.center) / score.scale
    for origin in range(3):
        of, rows = score.origins == origin, u[y == origin]
        joint = np.array(
            [
                w * multivariate_normal(m, np.diag(v)).pdf(rows)
                for w, m, v in zip(
                    score.weights[of], score.means[of], score.variances[of], strict=True
                )
            ]
        )
        shares = joint / joint.sum(axis=0)
        sums = shares.sum(axis=1, keepdims=True)
        means = shares @ rows / sums
        np.testing.assert_allclose(score.weights[of], sums[:, 0] / len(rows), atol=1e-3)
        np.testing.assert_allclose(score.means[of], means, atol=1e-2)
        squares = shares @ rows**2 / sums - means**2
        np.testing.assert_allclose(score.variances[of], squares + 0.1, atol=1e-2)


def test_the_components_are_capped_by_different_images() -> None:
    x = np.random.default_rng(0).normal(0, 1, (60, 4)).astype(np.float32)
    y = np.repeat([0, 1, 2, 3], [31, 19, 1, 9])
    x[:12] = x[0]  # of 31 images 20 are different
    score = Gaussians(components=3).fit(x, x, y, 4)
    assert np.bincount(score.origins).tolist() == [2, 1, 1, 1]
    assert len(score.weights) == len(score.means) == len(score.variances) == 5
    # Of one image nothing is known but where it is.
    np.testing.assert_allclose(score.variances[3], 0.1)
    np.testing.assert_allclose(score.means[3] * score.scale + score.center, x[50], rtol=1e-6)


@pytest.mark.parametrize("components", [1, 2, 3])
def test_equal_images_and_constant_columns_pass_without_a_warning(components: int) -> None:
    x, y = _data(60, 5, 3)
    x[:, 1], x[y == 0] = 7.7, x[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score = Gaussians(components=components).fit(x, x, y, 3)
    assert np.isfinite(score(x, x)).all()
    off = x.copy()
    off[:, 1] += 10 * x.std()
    assert (score(off, x) < score(x, x)).all()
    # The constant column is measured by what the others vary.
    assert score.scale[1] == pytest.approx(score.scale[[0, 2, 3, 4]].mean())
    alike = np.full((60, 5), 0.3)
    assert Gaussians().fit(alike, x, y, 3).scale.tolist() == [1] * 5


def test_the_features_scale_is_no_matter() -> None:
    x, y = (a.astype(float) if a.dtype == np.float32 else a for a in _data(90, 6, 3))
    found = Gaussians().fit(x * 1e6, x, y, 3)(x * 1e6, x)
    np.testing.assert_allclose(found, Gaussians().fit(x, x, y, 3)(x, x), rtol=1e-6)


def test_the_order_of_training_images_is_no_matter_to_the_bit() -> None:
    x, y = _data(90, 6, 3)
    order = np.random.default_rng(5).permutation(90)
    found = Gaussians(3).fit(x[order], x, y[order], 3)(x, x)
    assert np.array_equal(found, Gaussians(3).fit(x, x, y, 3)(x, x))


def test_far_away_the_density_is_small_and_not_none() -> None:
    x, y = _data(90, 6, 3)
    assert -np.inf < Gaussians().fit(x, x, y, 3)(x[:1] + 1e6, x)[0] < -1e9


@pytest.mark.parametrize("components", [0, -1])
def test_there_must_be_a_component(components: int) -> None:
    with pytest.raises(FitError, match=f"at least 1 component, got {components}"):
        Gaussians(components)
