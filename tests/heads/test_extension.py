"""Adding an origin to a head, compared with the objective."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import softmax

from whichgen.errors import FitError
from whichgen.heads.extension import SHRINKAGE, C, extend, lower_last_bias
from whichgen.heads.fusion import FusionMethod
from whichgen.heads.linear import LinearHead
from whichgen.heads.method_registry import HEAD_METHODS, make_head_method


def images(seed: int = 0, n: int = 48, new: int = 6, d: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Images of three old origins, then a few of a new one."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n) % 3, np.full(new, 3)])
    centers = np.random.default_rng(9).normal(0, 2, (4, d))
    return rng.normal(centers[labels]).astype(np.float32), labels


@pytest.mark.parametrize("name", [name for name in HEAD_METHODS if name != "experts"])
def test_new_origin_is_recognized_and_old_ones_keep_their_order(name: str) -> None:
    x, y = images()
    old = make_head_method(name).fit(x[y < 3], y[y < 3], 3, 5.0)
    head = extend(old, x, y, 3)
    queries, truth = images(seed=1, n=300, new=100)
    logits = head.forward(queries).logits
    assert logits.shape == (400, 4)
    assert (logits.argmax(axis=1) == truth).mean() > 0.85
    assert (logits[truth == 3].argmax(axis=1) == 3).mean() > 0.7
    if name != "knn":
        order = old.forward(queries).logits.argsort(axis=1)
        assert np.array_equal(logits[:, :3].argsort(axis=1), order)


def test_new_row_minimizes_cross_entropy_with_fixed_old_rows() -> None:
    x, y = images()
    old = make_head_method("linear").fit(x[y < 3], y[y < 3], 3, 1.0)
    head = extend(old, x, y, 3)
    assert isinstance(head, LinearHead) and isinstance(old, LinearHead)
    assert np.array_equal(head.weights[:3], old.weights)
    assert np.array_equal(head.bias[:3], old.bias)
    weight = np.where(y == 3, (y < 3).sum() / 3 / (y == 3).sum(), 1.0)
    within = np.zeros((5, 5))
    for origin in range(3):
        rows = x[y == origin].astype(np.float64)
        within += (rows - rows.mean(axis=0)).T @ (rows - rows.mean(axis=0))
    metric = (1 - SHRINKAGE) * within * 5 / np.trace(within) + SHRINKAGE * np.eye(5)

    def objective(row: np.ndarray) -> float:
        logits = np.column_stack([old.forward(x).logits, x @ row[:-1] + row[-1]])
        p = softmax(logits, axis=1)[np.arange(len(y)), y]
        return float(-C * weight @ np.log(p) + row[:-1] @ metric @ row[:-1] / 2)

    best = np.append(head.weights[3], head.bias[3])
    at_best = objective(best)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(20):
            assert objective(best + size * rng.normal(size=6)) > at_best - 1e-6 * abs(at_best)


def test_fusion_is_extended_view_by_view() -> None:
    x, y = images(d=5)
    old = FusionMethod(widths=(2, 3)).fit(x[y < 3], y[y < 3], 3, 1.0)
    head = extend(old, x, y, 3)
    for view, wider, columns in zip(old.views, head.views, (x[:, :2], x[:, 2:]), strict=True):
        expected = extend(view.probe, view.standardize(columns), y, 3)
        assert isinstance(expected, LinearHead)
        assert np.array_equal(wider.probe.weights, expected.weights)
        assert np.array_equal(wider.mean, view.mean)
    restored = FusionMethod().restore(head.tensors(), 4, 1.0)
    assert np.array_equal(restored.forward(x).logits, head.forward(x).logits)


@pytest.mark.parametrize("name", ["linear", "fusion"])
def test_lowering_the_bias_only_removes_images_from_the_new_origin(name: str) -> None:
    x, y = images()
    head = extend(make_head_method(name).fit(x[y < 3], y[y < 3], 3, 1.0), x, y, 3)
    queries, _ = images(seed=2, n=300, new=100)
    assigned = [
        lower_last_bias(head, by).forward(queries).logits.argmax(axis=1) == 3
        for by in (0, 1, 5, 1000)
    ]
    assert np.array_equal(assigned[0], head.forward(queries).logits.argmax(axis=1) == 3)
    assert not any((less & ~more).any() for more, less in pairwise(assigned))
    assert assigned[0].any() and not assigned[-1].any()


def test_knn_has_no_bias_to_lower() -> None:
    x, y = images()
    head = extend(make_head_method("knn").fit(x[y < 3], y[y < 3], 3, 5.0), x, y, 3)
    assert lower_last_bias(head, 3.0) is head


def test_heads_that_cannot_be_extended_are_reported() -> None:
    x, y = images()
    old = make_head_method("linear").fit(x[y < 3], y[y < 3], 3, 1.0)
    with pytest.raises(FitError, match="1 of 4 origins have no training image"):
        extend(old, x[y < 3], y[y < 3], 3)
    with pytest.raises(FitError, match="object can't be extended"):
        extend(object(), x, y, 3)  # type: ignore[arg-type]
