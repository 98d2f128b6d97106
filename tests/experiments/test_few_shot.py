"""The few-shot curve, compared with separate enrollments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from whichgen.errors import DataError
from whichgen.experiments.few_shot import MIN_TEST_IMAGES, measure_few_shot
from whichgen.inference.enroll import enroll
from whichgen.report.figures.experiments import few_shot_rows

Make = Callable[..., Any]

HELD_OUT: dict[str, Any] = {"unknown": ("ddpm", "flow"), "unknown_val": ("ddpm",)}


def test_each_point_tests_the_enrolled_model_on_the_remaining_images(world: Make) -> None:
    w = world(**HELD_OUT)
    model, features = w.fit().model, w.extract()
    points = list(measure_few_shot(model, features, image_counts=(1, 4, 40), seeds=(0, 1)))
    assert [(p.generator, p.images, p.seed) for p in points] == [
        (g, n, s) for g in ("ddpm", "flow") for n in (1, 4) for s in (0, 1)
    ]
    (point,) = (p for p in points if (p.generator, p.images, p.seed) == ("flow", 4, 1))
    own = features.tables["test_unknown"].blocks(model.blocks)
    order = np.random.default_rng((1, len(own))).permutation(len(own))
    new = enroll(model, "flow", own[order[:4]]).model
    known = features.tables["test"]
    probabilities, scores = new.predict(known.blocks(model.blocks))
    predicted = np.array(new.origins)[probabilities.argmax(axis=1)]
    assert point.accuracy_after == (predicted == known.origins).mean()
    assert point.accuracy_before == w.fit().evaluation.closed.accuracy
    own_probabilities, own_scores = new.predict(own[order[4:]])
    assert point.test_images == len(own_scores) == len(own) - 4 >= MIN_TEST_IMAGES
    correct = np.array(new.origins)[own_probabilities.argmax(axis=1)] == "flow"
    assert point.recall == correct.mean()
    assert point.accepted == (correct & (own_scores >= new.threshold)).mean()
    others = new.predict(features.tables["val_unknown"].blocks(model.blocks))[1]
    truth = np.repeat([1, 0], [len(scores) + len(own_scores), len(others)])
    assert point.auroc == pytest.approx(
        roc_auc_score(truth, np.concatenate([scores, own_scores, others]))
    )


def test_rows_average_over_generators_and_seeds(world: Make) -> None:
    w = world(**HELD_OUT)
    points = list(measure_few_shot(w.fit().model, w.extract(), image_counts=(2,), seeds=(0, 1, 2)))
    (row,) = few_shot_rows(points)
    assert (row["images"], row["generators"], row["enrollments"]) == (2, 2, 6)
    changes = [100 * (p.accuracy_after - p.accuracy_before) for p in points]
    assert row["worst change"] == f"{min(changes):+.1f}"
    assert row["accuracy change"] == f"{sum(changes) / 6:+.1f}"
    recalls = [100 * p.recall for p in points]
    assert row["recall"] == f"{np.mean(recalls):.1f} ± {np.std(recalls, ddof=1):.1f}"


def test_too_few_images_per_unknown_generator_raise_an_error(world: Make) -> None:
    w = world(**HELD_OUT)
    with pytest.raises(DataError, match="no unknown generator has enough images to enroll 30"):
        list(measure_few_shot(w.fit().model, w.extract(), image_counts=(30,)))
