"""Few-shot experiment, compared with separate enrollments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from whichgen.errors import DataError
from whichgen.experiments.few_shot import (
    MIN_TEST_IMAGES,
    describe_few_shot_sources,
    draw_images,
    measure_few_shot,
)
from whichgen.features.table import FeatureTable
from whichgen.inference.enroll import enroll
from whichgen.report.figures.experiment_curves import tabulate_few_shot
from whichgen.training.split_features import SplitFeatures

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
    own = features.tables["test_unknown"].read_blocks(model.blocks)
    order = np.random.default_rng((1, len(own))).permutation(len(own))
    new = enroll(model, "flow", own[order[:4]]).model
    known = features.tables["test"]
    probabilities, scores = new.predict(known.read_blocks(model.blocks))
    predicted = np.array(new.origins)[probabilities.argmax(axis=1)]
    assert point.accuracy_after == (predicted == known.origins).mean()
    assert point.accuracy_before == w.fit().evaluation.closed.accuracy
    own_probabilities, own_scores = new.predict(own[order[4:]])
    assert point.test_images == len(own_scores) == len(own) - 4 >= MIN_TEST_IMAGES
    correct = np.array(new.origins)[own_probabilities.argmax(axis=1)] == "flow"
    assert point.recall == correct.mean()
    assert point.accepted == (correct & (own_scores >= new.threshold)).mean()
    others = new.predict(features.tables["val_unknown"].read_blocks(model.blocks))[1]
    truth = np.repeat([1, 0], [len(scores) + len(own_scores), len(others)])
    assert point.auroc == pytest.approx(
        roc_auc_score(truth, np.concatenate([scores, own_scores, others]))
    )


def add_sources(features: SplitFeatures, n: int) -> SplitFeatures:
    """Assign the images of each origin in each split to ``n`` sources in turn."""

    def add(name: str, table: FeatureTable) -> FeatureTable:
        samples = enumerate(table.samples)
        named = tuple(replace(s, source=f"{name}-{s.origin}-{i % n}") for i, s in samples)
        return replace(table, samples=named)

    tables = {name: add(name, table) for name, table in features.tables.items()}
    return replace(features, tables=tables)


def test_enrolled_and_test_images_have_different_sources(world: Make) -> None:
    features = add_sources(world(**HELD_OUT).extract(), 3)
    table = features.tables["test_unknown"]
    divisions = set()
    for seed in range(6):
        enrolled, test = draw_images(table.samples, 4, seed)
        assert len(enrolled) == 4
        assert len(test) == len(table) // 3  # one of three sources
        of_enrolled, of_test = (set(table.take(rows).sources.tolist()) for rows in (enrolled, test))
        assert not of_enrolled & of_test
        assert draw_images(table.samples, 2, seed)[0].tolist() == enrolled[:2].tolist()
        divisions.add(frozenset(of_test))
    assert len(divisions) > 1


def test_generators_with_one_source_are_omitted(world: Make) -> None:
    w = world(**HELD_OUT)
    model, features = w.fit().model, w.extract()
    assert describe_few_shot_sources(features) == ""
    with pytest.raises(DataError, match="from different sources"):
        list(measure_few_shot(model, add_sources(features, 1), image_counts=(1,)))
    sources = add_sources(features, 2)
    assert "from different sources" in describe_few_shot_sources(sources)
    points = list(measure_few_shot(model, sources, image_counts=(1, 7), seeds=(0,)))
    assert {(p.generator, p.test_images) for p in points} == {("ddpm", 7), ("flow", 7)}


def test_rows_average_over_generators_and_seeds(world: Make) -> None:
    w = world(**HELD_OUT)
    points = list(measure_few_shot(w.fit().model, w.extract(), image_counts=(2,), seeds=(0, 1, 2)))
    (row,) = tabulate_few_shot(points)
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
    with pytest.raises(DataError, match=r"images to enroll are \[0\], but at least one must be 1"):
        list(measure_few_shot(w.fit().model, w.extract(), image_counts=(0,)))
