"""Selection: metrics of a sweep, averages over folds, and the best candidate."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from whichgen.errors import FitError
from whichgen.evaluation.oscr import compute_oscr
from whichgen.heads.linear import LinearMethod
from whichgen.training.selection import (
    METRICS,
    Candidate,
    SelectionMetrics,
    SelectionOptions,
    average_by_key,
    select_best,
    sweep_block,
)


def candidate(
    block: int, value: float, auroc: float | None, oscr: float | None = 0.1, accuracy: float = 0.2
) -> Candidate:
    """Make a candidate; AUROC first, because most tests select by it."""
    return Candidate(block, value, accuracy, auroc, oscr)


GRID = [
    Candidate(block=0, value=1, accuracy=0.9, auroc=0.5, oscr=0.3),
    Candidate(block=0, value=2, accuracy=0.8, auroc=0.7, oscr=0.2),
    Candidate(block=1, value=1, accuracy=0.7, auroc=0.6, oscr=0.4),
]


@pytest.mark.parametrize(("metric", "best"), [("AUC", 1), ("OSCR", 2), ("accuracy", 0)])
def test_each_metric_selects_its_best_candidate(metric: str, best: int) -> None:
    assert select_best(GRID, metric) == GRID[best]


def test_metrics_are_those_of_the_reference_implementation() -> None:
    assert list(METRICS) == ["AUC", "OSCR", "accuracy"]
    assert SelectionOptions().metric == "AUC"


def test_first_candidate_wins_a_tie() -> None:
    grid = [candidate(b, v, 0.5 + 0.4 * (b > 0 and v > 1)) for b in range(3) for v in (1, 2, 3)]
    best = select_best(grid, "AUC")
    assert (best.block, best.value) == (1, 2)


@pytest.mark.parametrize("metric", METRICS)
def test_accuracy_is_used_without_unknown_images(metric: str) -> None:
    grid = [candidate(0, v, None, None, accuracy) for v, accuracy in ((1, 0.4), (2, 0.8), (3, 0.6))]
    assert select_best(grid, metric).value == 2


@pytest.mark.parametrize("name", ["auc", "auroc", "F1", ""])
def test_unknown_metric_is_rejected_with_a_list_of_metrics(name: str) -> None:
    with pytest.raises(FitError, match=r"unknown selection metric .*AUC, OSCR, accuracy"):
        SelectionOptions(metric=name)


def test_empty_grid_is_rejected() -> None:
    with pytest.raises(FitError, match="no candidate"):
        select_best([], "AUC")


def test_folds_have_equal_weight() -> None:
    results = [
        ("a", SelectionMetrics(1.0, 0.2, 0.1)),
        ("b", SelectionMetrics(0.5, 0.4, 0.2)),
        ("a", SelectionMetrics(0.0, 0.6, 0.3)),
        ("b", SelectionMetrics(0.7, 0.5, 0.4)),
    ]
    averages = average_by_key(results, 2)
    assert list(averages) == ["a", "b"]
    assert averages["a"] == pytest.approx((0.5, 0.4, 0.2))
    assert averages["b"] == pytest.approx((0.6, 0.45, 0.3))


def test_key_missing_in_a_fold_is_dropped() -> None:
    metrics = SelectionMetrics(0.2, 0.4, 0.3)
    assert average_by_key([("a", metrics), ("b", metrics), ("a", metrics)], 2) == {"a": metrics}


def test_fold_without_unknown_images_counts_for_accuracy_only() -> None:
    closed = SelectionMetrics(0.5, None, None)
    open_set = SelectionMetrics(0.2, 0.8, 0.6)
    assert average_by_key([("a", closed), ("a", open_set)], 2)["a"] == (0.35, 0.8, 0.6)
    assert average_by_key([("a", closed), ("a", closed)], 2)["a"] == closed


def make_fold(*, unknown: int = 20) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Features and labels of two origins in three dimensions; unknown images near the first."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    points = rng.normal(labels[:, None] * [1.0, 0.5, 0], 1.0, (60, 3))
    features = [points[::2], points[1::2], rng.normal(-0.5, 1, (unknown, 3))]
    return features, [labels[::2], labels[1::2]]


def test_sweep_metrics_agree_with_scikit_learn_at_each_value() -> None:
    features, labels = make_fold()
    train, val, unknown = features
    results = sweep_block(LinearMethod(values=(0.01, 1.0, 100.0)), features, labels, 2)
    assert [value for value, _ in results] == [0.01, 1.0, 100.0]
    for value, metrics in results:
        model = LogisticRegression(C=value, tol=1e-10, max_iter=10_000).fit(train, labels[0])
        known = model.predict_proba(val)
        scores = known.max(axis=1), model.predict_proba(unknown).max(axis=1)
        correct = known.argmax(axis=1) == labels[1]
        truth = [1] * len(scores[0]) + [0] * len(scores[1])
        assert metrics.accuracy == pytest.approx(correct.mean())
        assert metrics.auroc == pytest.approx(
            roc_auc_score(truth, np.concatenate(scores)), abs=2e-3
        )
        assert metrics.oscr == pytest.approx(compute_oscr(scores[0], correct, scores[1]), abs=2e-3)


def test_sweep_without_unknown_images_measures_accuracy_only() -> None:
    with_unknown, without = (
        sweep_block(LinearMethod(values=(1.0,)), *make_fold(unknown=n), 2)[0][1] for n in (20, 0)
    )
    assert without == (with_unknown.accuracy, None, None)
