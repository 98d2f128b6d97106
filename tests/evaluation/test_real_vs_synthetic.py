"""Metrics of real vs. synthetic images, compared with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.real_vs_synthetic import (
    compute_real_vs_synthetic_metrics,
    compute_synthetic_scores,
)

ORIGINS = ("gan", "real", "vae")


def predict(n: int, seed: int, origins: tuple[str, ...]) -> Predictions:
    rng = np.random.default_rng(seed)
    truth = np.array(origins)[np.arange(n) % len(origins)]
    return Predictions.from_probabilities(rng.dirichlet((1, 1, 1), n), truth)


def test_metrics_equal_those_of_scikit_learn() -> None:
    known, unknown = predict(90, 0, ORIGINS), predict(40, 1, ("flow", "ddpm"))
    results = {r.name: r for r in compute_real_vs_synthetic_metrics(known, unknown, ORIGINS)}
    assert list(results) == ["known generators", "unknown generators", "all"]
    is_real = known.origins == "real"
    sets = {
        "known generators": known.probabilities[~is_real],
        "unknown generators": unknown.probabilities,
        "all": np.concatenate([known.probabilities[~is_real], unknown.probabilities]),
    }
    for name, synthetic in sets.items():
        scores = 1 - np.concatenate([known.probabilities[is_real], synthetic])[:, 1]
        truth = np.repeat([0, 1], [is_real.sum(), len(synthetic)])
        assert results[name].images == len(synthetic)
        assert results[name].auroc == pytest.approx(roc_auc_score(truth, scores))
        expected = average_precision_score(truth, scores)
        assert results[name].average_precision == pytest.approx(expected)


def test_nearly_certain_images_keep_their_order() -> None:
    real = np.array([1e-290, 1e-200, 1e-30, 0.5, 1 - 1e-12, 1.0])
    rows = np.column_stack([1 - real, real, np.zeros(6)])
    rows[4, 0] = 1e-12
    assert (np.diff(compute_synthetic_scores(rows, ORIGINS)) < 0).all()
    assert np.isfinite(compute_synthetic_scores(rows, ORIGINS)).all()


def test_sets_without_images_are_omitted() -> None:
    known, none = (
        predict(30, 0, ORIGINS),
        Predictions.from_probabilities(np.empty((0, 3)), np.empty(0, dtype=str)),
    )
    results = compute_real_vs_synthetic_metrics(known, none, ORIGINS)
    assert [r.name for r in results] == ["known generators", "all"]
    assert results[0].auroc == results[1].auroc
    assert (
        compute_real_vs_synthetic_metrics(
            predict(30, 0, ("gan", "x", "vae")), none, ("gan", "x", "vae")
        )
        == ()
    )
