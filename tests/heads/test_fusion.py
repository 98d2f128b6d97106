"""Fusion, compared with scikit-learn and with the formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from whichgen.errors import FitError
from whichgen.heads.fusion import FLOOR, FusionHead, FusionMethod, fit_view, split_views

WIDTHS = (3, 1, 4)
METHOD = FusionMethod(widths=WIDTHS)


def images(seed: int = 0, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    features = rng.normal(labels[:, None] * rng.normal(size=8), 2, (n, 8)) * 10.0 ** np.arange(8)
    return features.astype(np.float32), labels


def reference_logits(x: np.ndarray, y: np.ndarray, query: np.ndarray, C: float) -> np.ndarray:
    """Compute mean log-probabilities of one logistic regression per view: (n, origins)."""
    views = []
    floor = FLOOR / 3
    for start, stop in ((0, 3), (3, 4), (4, 8)):
        scaler = StandardScaler().fit(x[:, start:stop].astype(np.float64))
        root = np.sqrt(stop - start)
        model = LogisticRegression(C=C, tol=1e-10, max_iter=10_000)
        model.fit(scaler.transform(x[:, start:stop]) / root, y)
        probabilities = model.predict_proba(scaler.transform(query[:, start:stop]) / root)
        views.append(np.log((1 - FLOOR) * probabilities + floor))
    return np.mean(views, axis=0)


@pytest.mark.parametrize("C", [0.3, 30.0])
def test_logits_are_mean_log_probabilities_over_views(C: float) -> None:
    x, y = images()
    query, _ = images(seed=1)
    head = METHOD.fit(x, y, 3, C)
    expected = reference_logits(x, y, query, C)
    np.testing.assert_allclose(head.forward(query).logits, expected, atol=1e-4)
    np.testing.assert_allclose(
        head.forward(query).probabilities, softmax(expected, axis=1), atol=1e-4
    )
    assert (head.forward(query).logits <= 0).all()
    assert head.forward(query).log_probabilities.shape == (3, 60, 3)


def test_disagreeing_views_lower_the_largest_logit() -> None:
    """Two views are each certain of a different origin, so no origin is likely in both."""
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    view = np.eye(3)[labels] + rng.normal(0, 0.05, (90, 3))
    x = np.hstack([view, view]).astype(np.float32)
    head = FusionMethod(widths=(3, 3)).fit(x, labels, 3, 1000.0)
    agree = np.float32([[1, 0, 0, 1, 0, 0]])
    disagree = np.float32([[1, 0, 0, 0, 1, 0]])
    assert head.forward(agree).logits.max() > -0.1
    assert head.forward(disagree).logits.max() < -1


def test_no_view_can_rule_out_an_origin() -> None:
    """One view contradicts three others, with features far beyond those of training."""
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    view = np.eye(3)[labels] + rng.normal(0, 0.05, (90, 3))
    x = np.hstack([view] * 4).astype(np.float32)
    head = FusionMethod(widths=(3, 3, 3, 3)).fit(x, labels, 3, 1e4)
    outlier = np.float32([[1, 0, 0, 1, 0, 0, 1, 0, 0, -20, 20, -20]])
    output = head.forward(outlier)
    assert output.log_probabilities[3, 0, 0] == pytest.approx(np.log(FLOOR / 3), abs=0.01)
    assert output.logits.argmax() == 0


def test_models_saved_without_a_floor_predict_as_before() -> None:
    x, y = images()
    head = METHOD.fit(x, y, 3, 10.0)
    tensors = head.tensors()
    del tensors["floor"]
    restored = METHOD.restore(tensors, 3, 10.0)
    plain = [
        view.probe.forward(view.standardize(part)).log_probabilities[0]
        for view, part in zip(head.views, split_views(x, WIDTHS), strict=True)
    ]
    np.testing.assert_array_equal(restored.forward(x).log_probabilities, np.stack(plain))


def test_standardized_views_are_centered_scaled_and_clipped() -> None:
    x, y = images()
    head = METHOD.fit(x, y, 3, 1.0)
    embedded = head.standardize(x)
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(embedded.mean(axis=0), 0, atol=1e-5)
    for part in split_views(embedded, WIDTHS):
        np.testing.assert_allclose((part**2).sum(axis=1).mean(), 1, rtol=1e-4)
    outlier = x[:1].copy()
    outlier[0, 3] = 1e30
    assert head.standardize(outlier)[0, 3] == 10


def test_embedding_with_all_components_preserves_distances() -> None:
    x, y = images()
    head = METHOD.fit(x, y, 3, 1.0)
    embedded, whole = head.forward(x).embedding, head.standardize(x)
    assert embedded.shape == (60, 8)
    np.testing.assert_allclose(embedded @ embedded.T, whole @ whole.T, atol=1e-4)
    few = METHOD.fit(x[:4], np.array([0, 1, 2, 0]), 3, 1.0)
    assert few.forward(x).embedding.shape == (60, 3)


def test_constant_feature_does_not_divide_by_zero() -> None:
    x, y = images()
    x[:, 1] = 7
    head = METHOD.fit(x, y, 3, 1.0)
    assert np.isfinite(head.forward(x).logits).all()
    assert (head.standardize(x)[:, 1] == 0).all()


def test_views_that_share_a_vote_weigh_as_much_as_one_view() -> None:
    x, y = images()
    head = FusionMethod(widths=WIDTHS, views_per_vote=(2, 1)).fit(x, y, 3, 1.0)
    np.testing.assert_allclose(
        head.forward(x[:2]).view_weights, [[1 / 4] * 2, [1 / 4] * 2, [1 / 2] * 2]
    )
    first, second, third = head.forward(x).log_probabilities
    np.testing.assert_allclose(head.forward(x).logits, ((first + second) / 2 + third) / 2)
    with pytest.raises(FitError, match=r"\[2, 2\] must add up to the number of views, 3"):
        FusionMethod(widths=WIDTHS, views_per_vote=(2, 2)).fit(x, y, 3, 1.0)


@pytest.mark.parametrize("views_per_vote", [(), (1, 2)])
def test_restored_head_is_identical(views_per_vote: tuple[int, ...]) -> None:
    x, y = images()
    head = replace(METHOD, views_per_vote=views_per_vote).fit(x, y, 3, 10.0)
    restored = FusionMethod().restore(head.tensors(), 3, 10.0)
    assert restored.views_per_vote == views_per_vote
    assert isinstance(restored, FusionHead)
    assert restored.widths == WIDTHS
    assert np.array_equal(restored.forward(x).logits, head.forward(x).logits)
    assert np.array_equal(restored.forward(x).embedding, head.forward(x).embedding)


def test_path_has_one_probe_per_value() -> None:
    x, y = images()
    path = fit_view(x[:, :3], y, 3, (0.1, 10.0))
    alone = fit_view(x[:, :3], y, 3, (10.0,))
    np.testing.assert_allclose(path[1].probe.weights, alone[0].probe.weights, atol=1e-5)


def test_widths_must_match_the_features() -> None:
    x, y = images()
    with pytest.raises(FitError, match=r"views \[3, 1\] add up to 4, but there are 8"):
        FusionMethod(widths=(3, 1)).fit(x, y, 3, 1.0)
    assert len(FusionMethod().fit(x, y, 3, 1.0).views) == 1


@pytest.mark.parametrize(("n", "d"), [(40, 6), (24, 60)], ids=["tall", "wide"])
@pytest.mark.parametrize("shrinkage", [1.0, 0.3, 0.01])
def test_probe_is_optimal_for_the_penalty_in_the_within_origin_metric(
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


def test_shrinkage_has_no_effect_with_one_image_per_origin() -> None:
    x, y = images()
    first, second = (fit_view(x[:3], y[:3], 3, (10.0,), s)[0] for s in (1.0, 0.1))
    assert np.array_equal(first.probe.weights, second.probe.weights)


@pytest.mark.parametrize("shrinkage", [0.0, -1.0, 1.5])
def test_shrinkage_out_of_range_is_rejected(shrinkage: float) -> None:
    x, y = images()
    with pytest.raises(FitError, match="shrinkage must be above 0 and at most 1"):
        fit_view(x, y, 3, (1.0,), shrinkage)
