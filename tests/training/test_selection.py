"""The choice among candidates: the grid, its mean over folds, the best."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from whichgen.errors import FitError
from whichgen.evaluation.oscr import oscr
from whichgen.heads.linear import LinearMethod
from whichgen.training.selection import (
    METRICS,
    Candidate,
    FoldFeatures,
    SelectionOptions,
    average_folds,
    check_metric,
    select_best,
    select_per_block,
    sweep_block,
)


def candidate(
    block: int, value: float, auroc: float | None, oscr: float | None = 0.1, accuracy: float = 0.2
) -> Candidate:
    """A candidate; AUROC first, because most tests choose by it."""
    return Candidate(block, value, accuracy, auroc, oscr)


GRID = [
    Candidate(block=0, value=1, accuracy=0.9, auroc=0.5, oscr=0.3),
    Candidate(block=0, value=2, accuracy=0.8, auroc=0.7, oscr=0.2),
    Candidate(block=1, value=1, accuracy=0.7, auroc=0.6, oscr=0.4),
]


@pytest.mark.parametrize(("metric", "best"), [("AUC", 1), ("OSCR", 2), ("accuracy", 0)])
def test_each_metric_selects_its_best_candidate(metric: str, best: int) -> None:
    assert select_best(GRID, metric) == GRID[best]


def test_metrics_of_the_reference_implementation() -> None:
    assert list(METRICS) == ["AUC", "OSCR", "accuracy"]
    assert SelectionOptions().metric == "AUC"


def test_the_first_candidate_wins_a_tie() -> None:
    grid = [candidate(b, v, 0.5 + 0.4 * (b > 0 and v > 1)) for b in range(3) for v in (1, 2, 3)]
    best = select_best(grid, "AUC")
    assert (best.block, best.value) == (1, 2)


@pytest.mark.parametrize("metric", METRICS)
def test_accuracy_is_used_without_unknown_images(metric: str) -> None:
    grid = [candidate(0, v, None, None, accuracy) for v, accuracy in ((1, 0.4), (2, 0.8), (3, 0.6))]
    assert select_best(grid, metric).value == 2


@pytest.mark.parametrize("name", ["auc", "auroc", "F1", ""])
def test_an_unknown_metric_is_an_error_that_lists_the_metrics(name: str) -> None:
    for call in (lambda: SelectionOptions(metric=name), lambda: check_metric(name)):
        with pytest.raises(FitError, match=r"unknown selection metric .*AUC, OSCR, accuracy"):
            call()


def test_an_empty_grid_is_an_error() -> None:
    with pytest.raises(FitError, match="no candidate"):
        select_best([], "AUC")


def test_folds_have_equal_weight() -> None:
    folds = [
        [candidate(0, 1, 0.2, 0.1, 1.0), candidate(0, 2, 0.4, 0.2, 0.5)],
        [candidate(0, 1, 0.6, 0.3, 0.0), candidate(0, 2, 0.5, 0.4, 0.7)],
    ]
    one, two = average_folds(folds)
    assert (one.block, one.value, two.value) == (0, 1, 2)
    assert (one.auroc, one.oscr, one.accuracy) == pytest.approx((0.4, 0.2, 0.5))
    assert (two.auroc, two.oscr, two.accuracy) == pytest.approx((0.45, 0.3, 0.6))


def test_a_value_that_a_fold_could_not_serve_is_out() -> None:
    folds = [[candidate(0, 1, 0.2), candidate(0, 2, 0.9)], [candidate(0, 1, 0.4)]]
    (kept,) = average_folds(folds)
    assert (kept.value, kept.auroc) == (1, pytest.approx(0.3))


def test_a_fold_without_unknown_images_does_not_count_for_open_set_metrics() -> None:
    (mean,) = average_folds([[candidate(0, 1, None, None, 0.5)], [candidate(0, 1, 0.8, 0.6)]])
    assert (mean.auroc, mean.oscr, mean.accuracy) == pytest.approx((0.8, 0.6, 0.35))
    (none,) = average_folds([[candidate(0, 1, None, None)], [candidate(0, 1, None, None)]])
    assert none.auroc is none.oscr is None


def test_each_block_has_its_own_best_in_the_order_of_blocks() -> None:
    grid = [candidate(2, 1, 0.1), candidate(2, 5, 0.3), candidate(0, 1, 0.9), candidate(0, 5, 0.2)]
    assert [(c.block, c.value) for c in select_per_block(grid, "AUC")] == [(0, 1), (2, 5)]


def fold(*, unknown: int = 20) -> FoldFeatures:
    """Two origins in three dimensions; unknown images near the first."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    points = rng.normal(labels[:, None] * [1.0, 0.5, 0], 1.0, (60, 3))
    return FoldFeatures(
        train=points[::2],
        train_labels=labels[::2],
        val=points[1::2],
        val_labels=labels[1::2],
        unknown=rng.normal(-0.5, 1, (unknown, 3)),
        n_origins=2,
    )


def test_a_sweep_s_metrics_are_those_of_scikit_learn_at_each_value() -> None:
    data = fold()
    found = sweep_block(7, LinearMethod(values=(0.01, 1.0, 100.0)), data)
    assert [(c.block, c.value) for c in found] == [(7, 0.01), (7, 1.0), (7, 100.0)]
    for c in found:
        model = LogisticRegression(C=c.value, tol=1e-10, max_iter=10_000)
        model.fit(data.train, data.train_labels)
        known = model.predict_proba(data.val)
        scores = known.max(axis=1), model.predict_proba(data.unknown).max(axis=1)
        right = known.argmax(axis=1) == data.val_labels
        truth = [1] * len(scores[0]) + [0] * len(scores[1])
        assert c.accuracy == pytest.approx(right.mean())
        assert c.auroc == pytest.approx(roc_auc_score(truth, np.concatenate(scores)), abs=2e-3)
        assert c.oscr == pytest.approx(oscr(scores[0], right, scores[1]), abs=2e-3)


def test_a_sweep_without_unknown_images_has_accuracy_alone() -> None:
    with_unknown, without = (
        sweep_block(0, LinearMethod(values=(1.0,)), fold(unknown=n))[0] for n in (20, 0)
    )
    assert without.auroc is without.oscr is None
    assert without.accuracy == with_unknown.accuracy
