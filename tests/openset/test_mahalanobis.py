"""Mahalanobis distances, compared with SciPy and scikit-learn's covariance."""

from __future__ import annotations

import numpy as np
import pytest
from outputs import features_only, fit
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from whichgen.openset.mahalanobis import Mahalanobis, RelativeMahalanobis

SHAPES = {"n > d": (80, 8), "n < d": (30, 60)}


def _data(n: int, d: int, n_origins: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated columns with different scales and means."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_origins), rng.integers(0, n_origins, n - n_origins)])
    mix = np.random.default_rng(9).normal(0, 1, (d, d)) / np.sqrt(d)
    centers = np.random.default_rng(8).normal(0, 2, (n_origins, d))
    features = (centers[labels] + rng.normal(0, 1, (n, d)) @ mix) * np.linspace(0.2, 3, d) + 5
    return features.astype(np.float32), labels


def _gaussians(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute means, scikit-learn's shared covariance, and the covariance of the means."""
    exact = x.astype(np.float64)
    means = np.array([exact[y == j].mean(axis=0) for j in range(y.max() + 1)])
    covariance = LedoitWolf(assume_centered=True).fit(exact - means[y]).covariance_
    between = np.cov(means[y].T, bias=True)
    return means, covariance, between


@pytest.mark.parametrize("shape", SHAPES)
def test_score_is_minus_the_squared_distance_to_the_nearest_mean(shape: str) -> None:
    x, y = _data(*SHAPES[shape], 4)
    queries = _data(15, x.shape[1], 4, seed=1)[0]
    means, covariance, _ = _gaussians(x, y)
    inverse = np.linalg.inv(covariance)
    expected = [-min(mahalanobis(q, m, inverse) ** 2 for m in means) for q in queries]
    scores = fit(Mahalanobis, x, y, 4)(features_only(queries))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected, rtol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_relative_score_subtracts_the_origin_distance_from_the_background_distance(
    shape: str,
) -> None:
    x, y = _data(*SHAPES[shape], 4)
    queries = _data(15, x.shape[1], 4, seed=1)[0]
    means, covariance, between = _gaussians(x, y)
    inverse, background = np.linalg.inv(covariance), np.linalg.inv(covariance + between)
    mean = x.mean(axis=0, dtype=np.float64)
    expected = [
        mahalanobis(q, mean, background) ** 2 - min(mahalanobis(q, m, inverse) ** 2 for m in means)
        for q in queries
    ]
    score = fit(RelativeMahalanobis, x, y, 4)
    assert score.directions.shape == (x.shape[1], 4)
    np.testing.assert_allclose(score(features_only(queries)), expected, rtol=1e-7, atol=1e-7)


def test_background_covariance_without_shrinkage_is_the_covariance_of_all_images() -> None:
    x, y = _data(80, 8, 4)
    means, _, between = _gaussians(x, y)
    within = np.cov((x - means[y]).T, bias=True)
    np.testing.assert_allclose(within + between, np.cov(x.T.astype(float), bias=True), rtol=1e-6)


def test_relative_score_ignores_directions_that_do_not_separate_origins() -> None:
    x, y = _data(30, 60, 3)
    means, covariance, _ = _gaussians(x, y)
    apart = np.linalg.solve(covariance, (means - means.mean(axis=0)).T)
    step = np.random.default_rng(2).normal(0, 1e4, 60)
    step -= np.linalg.lstsq(apart.T, apart.T @ step)[0]
    score = fit(RelativeMahalanobis, x, y, 3)
    np.testing.assert_allclose(
        score(features_only(x + step)), score(features_only(x)), rtol=1e-6, atol=1e-6
    )
    plain = fit(Mahalanobis, x, y, 3)
    assert (plain(features_only(x + step)) < plain(features_only(x)) - 1e4).all()


@pytest.mark.parametrize("score", [Mahalanobis, RelativeMahalanobis])
@pytest.mark.parametrize("scale", [1e-6, 1e9])
def test_score_does_not_depend_on_feature_scale_and_offset(
    score: type[Mahalanobis] | type[RelativeMahalanobis], scale: float
) -> None:
    x, y = (a.astype(float) if a.dtype == np.float32 else a for a in _data(30, 60, 3))
    queries = _data(9, 60, 3, seed=1)[0].astype(float)
    scores = fit(score, (x + 7) * scale, y, 3)(features_only((queries + 7) * scale))
    np.testing.assert_allclose(scores, fit(score, x, y, 3)(features_only(queries)), rtol=1e-6)


def test_two_images_give_an_invertible_covariance() -> None:
    x = np.array([[10, 1, 0], [10, -1, 0]], dtype=np.float32)
    score = fit(Mahalanobis, x, np.zeros(2, int), 1)
    scores = score(
        features_only(np.array([[10, 0, 0], [10, 0.5, 0], [10, 0, 0.5]], dtype=np.float32))
    )
    # The variance is 1 in the direction of the images, and nearly 0 in the others.
    np.testing.assert_allclose(scores[:2], [0, -0.25], rtol=1e-5, atol=1e-12)
    assert -np.inf < scores[2] < -1e4


@pytest.mark.parametrize("n_each", [1, 30])
def test_images_equal_to_their_means_give_the_euclidean_distance(n_each: int) -> None:
    # The mean of thirty times 0.3 is not exactly 0.3; the difference must not count as spread.
    x = np.repeat(np.array([[0.3, 0.3], [4.3, 0.3]]), n_each, axis=0)
    score = fit(Mahalanobis, x, np.repeat([0, 1], n_each), 2)
    np.testing.assert_allclose(
        score(features_only(np.array([[0.3, 2.3], [4.3, 0.3]]))), [-4, 0], atol=1e-9
    )


def test_relative_score_of_a_single_origin_is_zero() -> None:
    x, _ = _data(30, 6, 1)
    scores = fit(RelativeMahalanobis, x, np.zeros(30, int), 1)(features_only(x * 9))
    assert scores.tolist() == [0] * 30
