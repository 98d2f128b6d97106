"""Evaluation of a model on perturbed test images and on other datasets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from whichgen.data.images.perturbations import INTENSITIES, Perturbation
from whichgen.errors import DataError
from whichgen.experiments.robustness import (
    average_over_intensities,
    evaluate_perturbation,
    evaluate_robustness,
)

Make = Callable[..., Any]


def test_first_point_equals_the_evaluation_of_the_fit_and_each_intensity_follows(
    world: Make,
) -> None:
    w = world(unknown=("ddpm", "flow"))
    result = w.fit()
    points = list(
        evaluate_robustness(result.model, w.dataset, w.encoder, w.store, kinds=("jpeg", "blur"))
    )
    assert points[0].perturbation is None
    assert points[0].test == result.evaluation
    assert [p.perturbation for p in points[1:]] == [
        Perturbation(kind, value) for kind in ("jpeg", "blur") for value in INTENSITIES[kind]
    ]
    assert any(p.test != result.evaluation for p in points[1:])
    n = len(w.dataset.test) + len(w.dataset.test_unknown)
    assert w.counting.images == 75 + 10 * n
    for p in points:
        assert p.test.threshold == result.model.threshold


def test_point_has_the_hash_of_its_images(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    model = w.fit().model
    first = evaluate_perturbation(model, w.dataset, w.encoder, w.store)
    assert first.data_hash == w.extract(splits=("test", "test_unknown")).data_hash
    w.dataset.test[0].path.write_text("no image")
    second = evaluate_perturbation(model, w.dataset, w.encoder, w.store)
    assert second.data_hash != first.data_hash
    assert len(second.skipped) == 1


def test_order_of_the_known_origins_does_not_matter(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    model = w.fit().model
    reordered = replace(w.dataset, known=w.dataset.known[::-1])
    points = [evaluate_perturbation(model, d, w.encoder, w.store) for d in (w.dataset, reordered)]
    assert points[0].test == points[1].test


def test_dataset_with_other_known_origins_raises_an_error(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    model = w.fit().model
    for unknown in (("ddpm",), ("gan", "ddpm"), ("gan", "ddpm", "flow")):
        other = world(name="other", unknown=unknown)
        with pytest.raises(
            DataError, match=r"the known origins of the model are real, gan, vae, but .*other are"
        ):
            evaluate_perturbation(model, other.dataset, w.encoder, w.store)


def test_mean_covers_the_five_intensities_of_a_kind(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    points = list(
        evaluate_robustness(w.fit().model, w.dataset, w.encoder, w.store, kinds=("jpeg", "crop"))
    )
    for metric in ("accuracy", "auroc", "oscr"):
        values = [p.test.metrics[metric] for p in points[6:]]
        assert None not in values
        assert average_over_intensities(points, "crop", metric) == pytest.approx(sum(values) / 5)
    assert average_over_intensities(points, "blur", "accuracy") is None


def test_only_accuracy_is_defined_without_unknown_images(world: Make, tmp_path: Path) -> None:
    w = world({"real": 10, "gan": 10})
    points = list(
        evaluate_robustness(w.fit().model, w.dataset, w.encoder, w.store, kinds=("jpeg",))
    )
    assert points[3].test.metrics["auroc"] is None
    assert points[3].test.metrics["oscr"] is None
    assert average_over_intensities(points, "jpeg", "oscr") is None
    assert average_over_intensities(points, "jpeg", "accuracy") is not None
