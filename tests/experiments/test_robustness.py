"""A model on perturbed test images, and on other data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from whichgen.data.perturbations import INTENSITIES, Perturbation
from whichgen.errors import DataError
from whichgen.experiments.robustness import (
    evaluate_perturbation,
    evaluate_robustness,
    get_metric,
    mean_over_intensities,
)

Make = Callable[..., Any]


def test_the_first_point_is_the_fit_s_own_evaluation_and_each_intensity_follows(
    world: Make,
) -> None:
    w = world(unknown=("ddpm", "flow"))
    found = w.fit()
    points = list(
        evaluate_robustness(found.model, w.dataset, w.encoder, w.store, kinds=("jpeg", "blur"))
    )
    assert points[0].perturbation is None
    assert points[0].evaluation == found.evaluation
    assert [p.perturbation for p in points[1:]] == [
        Perturbation(kind, value) for kind in ("jpeg", "blur") for value in INTENSITIES[kind]
    ]
    assert any(p.evaluation != found.evaluation for p in points[1:])
    n = len(w.dataset.test) + len(w.dataset.test_unknown)
    assert w.counting.images == 75 + 10 * n
    for p in points:
        assert p.evaluation.threshold == found.model.threshold


def test_a_point_says_which_images_it_is_of(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    model = w.fit().model
    first = evaluate_perturbation(model, w.dataset, w.encoder, w.store)
    assert first.data_hash == w.extract(splits=("test", "test_unknown")).data_hash
    w.dataset.test[0].path.write_text("no image")
    second = evaluate_perturbation(model, w.dataset, w.encoder, w.store)
    assert second.data_hash != first.data_hash
    assert len(second.skipped) == 1


def test_data_with_the_same_origins_in_another_order_give_the_same_figures(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    model = w.fit().model
    turned = replace(w.dataset, known=w.dataset.known[::-1])
    points = [evaluate_perturbation(model, d, w.encoder, w.store) for d in (w.dataset, turned)]
    assert points[0].evaluation == points[1].evaluation


def test_data_with_other_known_origins_are_refused(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    model = w.fit().model
    for unknown in (("ddpm",), ("gan", "ddpm"), ("gan", "ddpm", "flow")):
        other = world(name="other", unknown=unknown)
        with pytest.raises(DataError, match=r"the model knows real, gan, vae, but .*other are"):
            evaluate_perturbation(model, other.dataset, w.encoder, w.store)


def test_the_mean_of_a_kind_is_over_its_five_intensities(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    points = list(
        evaluate_robustness(w.fit().model, w.dataset, w.encoder, w.store, kinds=("jpeg", "crop"))
    )
    for metric in ("accuracy", "auroc", "oscr"):
        values = [get_metric(p.evaluation, metric) for p in points[6:]]
        assert None not in values
        assert mean_over_intensities(points, "crop", metric) == pytest.approx(sum(values) / 5)
    assert mean_over_intensities(points, "blur", "accuracy") is None


def test_without_unknown_images_only_accuracy_is_there(world: Make, tmp_path: Path) -> None:
    w = world({"real": 10, "gan": 10})
    points = list(
        evaluate_robustness(w.fit().model, w.dataset, w.encoder, w.store, kinds=("jpeg",))
    )
    assert get_metric(points[3].evaluation, "auroc") is None
    assert get_metric(points[3].evaluation, "oscr") is None
    assert mean_over_intensities(points, "jpeg", "oscr") is None
    assert mean_over_intensities(points, "jpeg", "accuracy") is not None
