"""Mahalanobis distances: scipy's, with scikit-learn's covariance, for every shape of the data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from whichgen.openset.mahalanobis import Mahalanobis, RelativeMahalanobis

SHAPES = {"n > d": (80, 8), "n < d": (30, 60)}


def _data(n: int, d: int, n_origins: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated columns of different scales around different means."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_origins), rng.integers(0, n_origins, n - n_origins)])
    mix = np.random.default_rng(9).normal(0, 1, (d, d)) / np.sqrt(d)
    centers = np.random.default_rng(8).normal(0, 2, (n_origins, d))
    features = (centers[labels] + rng.normal(0, 1, (n, d)) @ mix) * np.linspace(0.2, 3, d) + 5
    return features.astype(np.float32), labels


def _gaussians(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, shared covariance by scikit-learn, and the covariance of the means."""
    exact = x.astype(np.float64)
    means = np.array([exact[y == j].mean(axis=0) for j in range(y.max() + 1)])
    covariance = LedoitWolf(assume_centered=True).fit(exact - means[y]).covariance_
    between = np.cov(means[y].T, bias=True)
    return means, covariance, between


@pytest.mark.parametrize("shape", SHAPES)
def test_the_score_is_minus_the_squared_distance_to_the_nearest_mean(shape: str) -> None:
    x, y = _data(*SHAPES[shape], 4)
    queries = _data(15, x.shape[1], 4, seed=1)[0]
    means, covariance, _ = _gaussians(x, y)
    inverse = np.linalg.inv(covariance)
    expected = [-min(mahalanobis(q, m, inverse) ** 2 for m in means) for q in queries]
    found = Mahalanobis().fit(x, x, y, 4)(queries, queries)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_relative_score_is_the_background_s_distance_minus_the_origin_s(shape: str) -> None:
    x, y = _data(*SHAPES[shape], 4)
    queries = _data(15, x.shape[1], 4, seed=1)[0]
    means, covariance, between = _gaussians(x, y)
    inverse, background = np.linalg.inv(covariance), np.linalg.inv(covariance + between)
    mean = x.mean(axis=0, dtype=np.float64)
    expected = [
        mahalanobis(q, mean, background) ** 2 - min(mahalanobis(q, m, inverse) ** 2 for m in means)
        for q in queries
    ]
    score = RelativeMahalanobis().fit(x, x, y, 4)
    assert score.directions.shape == (x.shape[1], 4)
    np.testing.assert_allclose(score(queries, queries), expected, rtol=1e-7, atol=1e-7)


def test_without_shrinkage_the_background_s_covariance_is_that_of_all_images() -> None:
    x, y = _data(80, 8, 4)
    means, _, between = _gaussians(x, y)
    within = np.cov((x - means[y]).T, bias=True)
    np.testing.assert_allclose(within + between, np.cov(x.T.astype(float), bias=True), rtol=1e-6)


def test_a_step_in_a_direction_that_tells_no_origins_apart_changes_no_relative_score() -> None:
    x, y = _data(30, 60, 3)
    means, covariance, _ = _gaussians(x, y)
    apart = np.linalg.solve(covariance, (means - means.mean(axis=0)).T)
    step = np.random.default_rng(2).normal(0, 1e4, 60)
    step -= np.linalg.lstsq(apart.T, apart.T @ step)[0]
    score = RelativeMahalanobis().fit(x, x, y, 3)
    np.testing.assert_allclose(score(x + step, x), score(x, x), rtol=1e-6, atol=1e-6)
    plain = Mahalanobis().fit(x, x, y, 3)
    assert (plain(x + step, x) < plain(x, x) - 1e4).all()


@pytest.mark.parametrize("family", [Mahalanobis(), RelativeMahalanobis()])
@pytest.mark.parametrize("scale", [1e-6, 1e9])
def test_the_features_scale_and_place_are_no_matter(
    family: Mahalanobis | RelativeMahalanobis, scale: float
) -> None:
    x, y = (a.astype(float) if a.dtype == np.float32 else a for a in _data(30, 60, 3))
    queries = _data(9, 60, 3, seed=1)[0].astype(float)
    found = family.fit((x + 7) * scale, x, y, 3)((queries + 7) * scale, queries)
    np.testing.assert_allclose(found, family.fit(x, x, y, 3)(queries, queries), rtol=1e-6)


def test_two_images_that_leave_no_shrinkage_have_a_covariance() -> None:
    x = np.array([[10, 1, 0], [10, -1, 0]], dtype=np.float32)
    score = Mahalanobis().fit(x, x, np.zeros(2, int), 1)
    found = score(np.array([[10, 0, 0], [10, 0.5, 0], [10, 0, 0.5]], dtype=np.float32), x)
    # Variance is 1 where the images vary, and nearly none where they do not.
    np.testing.assert_allclose(found[:2], [0, -0.25], rtol=1e-5, atol=1e-12)
    assert -np.inf < found[2] < -1e4


@pytest.mark.parametrize("n_each", [1, 30])
def test_images_that_are_all_on_their_means_give_the_plain_distance(n_each: int) -> None:
    # A mean of thirty 0.3's is not 0.3: what is left is no spread.
    x = np.repeat(np.array([[0.3, 0.3], [4.3, 0.3]]), n_each, axis=0)
    score = Mahalanobis().fit(x, x, np.repeat([0, 1], n_each), 2)
    np.testing.assert_allclose(score(np.array([[0.3, 2.3], [4.3, 0.3]]), x[:2]), [-4, 0], atol=1e-9)


def test_relative_to_itself_a_single_origin_is_nothing() -> None:
    x, _ = _data(30, 6, 1)
    found = RelativeMahalanobis().fit(x, x[:, :1], np.zeros(30, int), 1)(x * 9, x)
    assert found.tolist() == [0] * 30
