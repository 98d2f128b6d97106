"""Fused probes against scikit-learn and the formula, written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from whichgen.errors import FitError
from whichgen.heads.fusion import FusionHead, FusionMethod, fit_view, split_views

WIDTHS = (3, 1, 4)
FAMILY = FusionMethod(widths=WIDTHS, values=(100.0, 1.0))


def images(seed: int = 0, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    features = rng.normal(labels[:, None] * rng.normal(size=8), 2, (n, 8)) * 10.0 ** np.arange(8)
    return features.astype(np.float32), labels


def by_scikit_learn(x: np.ndarray, y: np.ndarray, query: np.ndarray, C: float) -> np.ndarray:
    """Mean log-probabilities of one logistic regression a view: (n, origins)."""
    found = []
    for start, stop in ((0, 3), (3, 4), (4, 8)):
        scaler = StandardScaler().fit(x[:, start:stop].astype(np.float64))
        root = np.sqrt(stop - start)
        model = LogisticRegression(C=C, tol=1e-10, max_iter=10_000)
        model.fit(scaler.transform(x[:, start:stop]) / root, y)
        found.append(model.predict_log_proba(scaler.transform(query[:, start:stop]) / root))
    return np.mean(found, axis=0)


@pytest.mark.parametrize("C", [0.3, 30.0])
def test_logits_are_the_mean_log_probabilities_of_a_probe_a_view(C: float) -> None:
    x, y = images()
    query, _ = images(seed=1)
    head = FAMILY.fit(x, y, 3, C)
    expected = by_scikit_learn(x, y, query, C)
    np.testing.assert_allclose(head.logits(query), expected, atol=1e-4)
    np.testing.assert_allclose(head.predict_proba(query), softmax(expected, axis=1), atol=1e-4)
    assert (head.logits(query) <= 0).all()
    assert head.log_probabilities(query).shape == (3, 60, 3)


def test_a_sweep_gives_what_fits_give_in_the_order_of_c() -> None:
    x, y = images()
    query, _ = images(seed=1)
    found = dict(FAMILY.sweep(x, y, 3, [query, query[:0]]))
    assert list(found) == [1.0, 100.0]
    for value, (answers, none) in found.items():
        expected = FAMILY.fit(x, y, 3, value).predict_proba(query)
        np.testing.assert_allclose(answers, expected, atol=1e-5)
        assert none.shape == (0, 3)


def test_views_that_disagree_lower_the_largest_logit_but_not_the_probability() -> None:
    """Two views, each certain of another origin than the other: no origin is likely to both."""
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    view = np.eye(3)[labels] + rng.normal(0, 0.05, (90, 3))
    x = np.hstack([view, view]).astype(np.float32)
    head = FusionMethod(widths=(3, 3)).fit(x, labels, 3, 1000.0)
    agree = np.float32([[1, 0, 0, 1, 0, 0]])
    disagree = np.float32([[1, 0, 0, 0, 1, 0]])
    assert head.logits(agree).max() > -0.1
    assert head.logits(disagree).max() < -1


def test_standardized_views_have_mean_zero_and_unit_length_and_an_end() -> None:
    x, y = images()
    head = FAMILY.fit(x, y, 3, 1.0)
    embedded = head.standardize(x)
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(embedded.mean(axis=0), 0, atol=1e-5)
    for part in split_views(embedded, WIDTHS):
        np.testing.assert_allclose((part**2).sum(axis=1).mean(), 1, rtol=1e-4)
    wild = x[:1].copy()
    wild[0, 3] = 1e30
    assert head.standardize(wild)[0, 3] == 10


def test_the_embedding_keeps_distances_where_nothing_is_left_out() -> None:
    x, y = images()
    head = FAMILY.fit(x, y, 3, 1.0)
    embedded, whole = head.embed(x), head.standardize(x)
    assert embedded.shape == (60, 8)
    np.testing.assert_allclose(embedded @ embedded.T, whole @ whole.T, atol=1e-4)
    few = FAMILY.fit(x[:4], np.array([0, 1, 2, 0]), 3, 1.0)
    assert few.embed(x).shape == (60, 3)


def test_a_feature_equal_in_all_training_images_does_not_divide_by_zero() -> None:
    x, y = images()
    x[:, 1] = 7
    head = FAMILY.fit(x, y, 3, 1.0)
    assert np.isfinite(head.logits(x)).all()
    assert (head.standardize(x)[:, 1] == 0).all()


def test_views_that_share_a_vote_weigh_together_as_much_as_one() -> None:
    x, y = images()
    head = FusionMethod(widths=WIDTHS, votes=(2, 1)).fit(x, y, 3, 1.0)
    np.testing.assert_allclose(head.shares(x[:2]), [[1 / 4] * 2, [1 / 4] * 2, [1 / 2] * 2])
    first, second, third = head.log_probabilities(x)
    np.testing.assert_allclose(head.logits(x), ((first + second) / 2 + third) / 2)
    ((_, (swept,)),) = FusionMethod(WIDTHS, (1.0,), votes=(2, 1)).sweep(x, y, 3, [x])
    np.testing.assert_allclose(swept, head.predict_proba(x), atol=1e-6)
    with pytest.raises(FitError, match=r"votes of \[2, 2\] views, but there are 3"):
        FusionMethod(widths=WIDTHS, votes=(2, 2)).fit(x, y, 3, 1.0)


@pytest.mark.parametrize("votes", [(), (1, 2)])
def test_tensors_restore_the_head_to_the_bit(votes: tuple[int, ...]) -> None:
    x, y = images()
    head = replace(FAMILY, votes=votes).fit(x, y, 3, 10.0)
    again = FusionMethod().restore(head.tensors(), 3, 10.0)
    assert again.votes == votes
    assert isinstance(again, FusionHead)
    assert again.widths == WIDTHS
    assert np.array_equal(again.logits(x), head.logits(x))
    assert np.array_equal(again.embed(x), head.embed(x))


def test_a_path_is_one_probe_a_value() -> None:
    x, y = images()
    path = fit_view(x[:, :3], y, 3, (0.1, 10.0))
    alone = fit_view(x[:, :3], y, 3, (10.0,))
    np.testing.assert_allclose(path[1].probe.weights, alone[0].probe.weights, atol=1e-5)


def test_widths_must_add_up() -> None:
    x, y = images()
    with pytest.raises(FitError, match=r"views of \[3, 1\] columns, but there are 8"):
        FusionMethod(widths=(3, 1)).fit(x, y, 3, 1.0)
    assert len(FusionMethod().fit(x, y, 3, 1.0).views) == 1


@pytest.mark.parametrize(("n", "d"), [(40, 6), (24, 60)], ids=["tall", "wide"])
@pytest.mark.parametrize("shrinkage", [1.0, 0.3, 0.01])
def test_a_probe_is_the_optimum_of_the_penalty_in_the_metric_of_within_origin_scatter(
    n: int, d: int, shrinkage: float
) -> None:
    rng = np.random.default_rng(0)
    y, C = np.arange(n) % 3, 2.0
    x = (rng.normal(size=(n, d)) + y[:, None]) * rng.uniform(0.1, 10, d)
    (view,) = fit_view(x.astype(np.float32), y, 3, (C,), shrinkage)
    z = view.standardize(x.astype(np.float32)).astype(np.float64)
    within = np.zeros((d, d))
    for origin in range(3):
        rows = z[y == origin]
        within += (rows - rows.mean(axis=0)).T @ (rows - rows.mean(axis=0))
    metric = (1 - shrinkage) * within * d / np.trace(within) + shrinkage * np.eye(d)

    def gradient(weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = softmax(z @ weights.T + bias, axis=1) - np.eye(3)[y]
        return C * p.T @ z + weights @ metric, p.sum(axis=0)

    by_weights, by_bias = gradient(view.probe.weights, view.probe.bias)
    assert np.abs(by_weights).max() < 1e-4 * np.abs(view.probe.weights @ metric).max()
    assert np.abs(by_bias).max() < 1e-4


def test_one_image_of_each_origin_says_nothing_of_scatter() -> None:
    x, y = images()
    first, second = (fit_view(x[:3], y[:3], 3, (10.0,), s)[0] for s in (1.0, 0.1))
    assert np.array_equal(first.probe.weights, second.probe.weights)


@pytest.mark.parametrize("shrinkage", [0.0, -1.0, 1.5])
def test_a_shrinkage_out_of_range_is_told(shrinkage: float) -> None:
    x, y = images()
    with pytest.raises(FitError, match="shrinkage must be over 0 and at most 1"):
        fit_view(x, y, 3, (1.0,), shrinkage)
