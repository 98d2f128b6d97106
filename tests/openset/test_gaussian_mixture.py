"""Gaussian mixtures: densities of SciPy and scikit-learn, and few or equal images."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from outputs import features_only, fit
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from whichgen.openset.gaussian_mixture import ClassGaussianMixtures


def _data(n: int, d: int, n_origins: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two clusters per origin; columns with different scales and means."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_origins), rng.integers(0, n_origins, n - n_origins)])
    centers = np.random.default_rng(8).normal(0, 3, (2, n_origins, d))
    features = centers[rng.integers(0, 2, n), labels] + rng.normal(0, 1, (n, d))
    return (features * np.linspace(0.2, 30, d) + 5).astype(np.float32), labels


def test_one_component_gives_the_normal_density_of_the_best_origin() -> None:
    x, y = _data(50, 6, 3)
    queries = _data(12, 6, 3, seed=1)[0]
    exact = x.astype(np.float64)
    u, v = ((a - exact.mean(axis=0)) / exact.std(axis=0) for a in (exact, queries))
    densities = [
        multivariate_normal(u[y == j].mean(axis=0), np.diag(u[y == j].var(axis=0) + 0.1)).logpdf(v)
        for j in range(3)
    ]
    scores = fit(ClassGaussianMixtures, x, y, 3, components=1)(features_only(queries))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, np.max(densities, axis=0), rtol=1e-6)


def test_components_form_a_scikit_learn_mixture() -> None:
    x, y = _data(90, 6, 3)
    queries = _data(12, 6, 3, seed=1)[0]
    score = fit(ClassGaussianMixtures, x, y, 3)
    assert np.bincount(score.origins).tolist() == [2, 2, 2]
    v = (queries - x.mean(axis=0, dtype=float)) / x.std(axis=0, dtype=float)
    densities = []
    for origin in range(3):
        components = score.origins == origin
        mixture = GaussianMixture(2, covariance_type="diag")
        mixture.weights_, mixture.means_ = score.weights[components], score.means[components]
        mixture.covariances_ = score.variances[components]
        mixture.precisions_cholesky_ = score.variances[components] ** -0.5
        densities.append(mixture.score_samples(v))
    np.testing.assert_allclose(score(features_only(queries)), np.max(densities, axis=0), rtol=1e-9)
    # Two clusters are described better by two components than by one.
    single = fit(ClassGaussianMixtures, x, y, 3, components=1)
    assert score(features_only(x)).mean() > single(features_only(x)).mean() + 1


def test_fitted_mixture_is_a_fixed_point_of_expectation_maximization() -> None:
    x, y = _data(90, 6, 3)
    score = fit(ClassGaussianMixtures, x, y, 3)
    u = (x - score.center) / score.scale
    for origin in range(3):
        own, rows = score.origins == origin, u[y == origin]
        joint = np.array(
            [
                w * multivariate_normal(m, np.diag(v)).pdf(rows)
                for w, m, v in zip(
                    score.weights[own], score.means[own], score.variances[own], strict=True
                )
            ]
        )
        responsibilities = joint / joint.sum(axis=0)
        sums = responsibilities.sum(axis=1, keepdims=True)
        means = responsibilities @ rows / sums
        np.testing.assert_allclose(score.weights[own], sums[:, 0] / len(rows), atol=1e-3)
        np.testing.assert_allclose(score.means[own], means, atol=1e-2)
        squares = responsibilities @ rows**2 / sums - means**2
        np.testing.assert_allclose(score.variances[own], squares + 0.1, atol=1e-2)


def test_number_of_components_is_limited_by_distinct_images() -> None:
    x = np.random.default_rng(0).normal(0, 1, (60, 4)).astype(np.float32)
    y = np.repeat([0, 1, 2, 3], [31, 19, 1, 9])
    x[:12] = x[0]  # 20 of 31 images are distinct
    score = fit(ClassGaussianMixtures, x, y, 4, components=3)
    assert np.bincount(score.origins).tolist() == [2, 1, 1, 1]
    assert len(score.weights) == len(score.means) == len(score.variances) == 5
    np.testing.assert_allclose(score.variances[3], 0.1)
    np.testing.assert_allclose(score.means[3] * score.scale + score.center, x[50], rtol=1e-6)


@pytest.mark.parametrize("components", [1, 2, 3])
def test_equal_images_and_constant_columns_do_not_warn(components: int) -> None:
    x, y = _data(60, 5, 3)
    x[:, 1], x[y == 0] = 7.7, x[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score = fit(ClassGaussianMixtures, x, y, 3, components=components)
    assert np.isfinite(score(features_only(x))).all()
    off = x.copy()
    off[:, 1] += 10 * x.std()
    assert (score(features_only(off)) < score(features_only(x))).all()
    # A constant column is scaled by the mean spread of the others.
    assert score.scale[1] == pytest.approx(score.scale[[0, 2, 3, 4]].mean())
    equal = np.full((60, 5), 0.3)
    assert fit(ClassGaussianMixtures, equal, y, 3).scale.tolist() == [1] * 5


def test_score_does_not_depend_on_feature_scale() -> None:
    x, y = (a.astype(float) if a.dtype == np.float32 else a for a in _data(90, 6, 3))
    scores = fit(ClassGaussianMixtures, x * 1e6, y, 3)(features_only(x * 1e6))
    np.testing.assert_allclose(
        scores, fit(ClassGaussianMixtures, x, y, 3)(features_only(x)), rtol=1e-6
    )


def test_score_does_not_depend_on_image_order_bit_by_bit() -> None:
    x, y = _data(90, 6, 3)
    order = np.random.default_rng(5).permutation(90)
    scores = fit(ClassGaussianMixtures, x[order], y[order], 3, components=3)(features_only(x))
    assert np.array_equal(
        scores, fit(ClassGaussianMixtures, x, y, 3, components=3)(features_only(x))
    )


def test_density_far_away_is_small_but_finite() -> None:
    x, y = _data(90, 6, 3)
    assert -np.inf < fit(ClassGaussianMixtures, x, y, 3)(features_only(x[:1] + 1e6))[0] < -1e9
