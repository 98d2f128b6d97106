"""The low-data regime: draws and fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from whichgen.errors import DataError
from whichgen.experiments.low_data import feasible_sizes, low_data, subsample_training
from whichgen.training.fit_block import FitOptions
from whichgen.training.fit_fusion import FusionOptions, fuse

from .conftest import KNN

Make = Callable[..., Any]


def test_a_draw_has_so_many_images_of_each_known_origin_and_touches_nothing_else(
    world: Make,
) -> None:
    parts = world(unknown=("ddpm", "flow")).extract()
    for shots in (1, 4, 9):
        drawn = subsample_training(parts, shots, 0)
        counts = Counter(drawn.tables["train"].origins.tolist())
        assert counts == dict.fromkeys(parts.dataset.known, shots)
        assert set(drawn.tables["train"].samples) <= set(parts.tables["train"].samples)
        for part in ("val", "val_unknown", "test", "test_unknown"):
            assert drawn.tables[part] is parts.tables[part]


def test_draws_of_one_seed_are_nested_and_other_seeds_draw_otherwise(world: Make) -> None:
    parts = world(unknown=("ddpm", "flow")).extract()

    def paths(shots: int, seed: int) -> set[Any]:
        return {s.path for s in subsample_training(parts, shots, seed).tables["train"].samples}

    for seed in (0, 1):
        assert paths(1, seed) < paths(3, seed) < paths(9, seed)
        assert paths(3, seed) == paths(3, seed)
    assert paths(3, 0) != paths(3, 1)


def test_perturbed_copies_come_with_their_image_and_do_not_count(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    parts = w.extract(augment=("jpeg", "blur"))
    assert feasible_sizes(parts, (1, 9, 10)) == (1, 9)
    drawn = subsample_training(parts, 2, 0).tables["train"]
    assert Counter(Counter(drawn.samples).values()) == {3: 2 * 3}
    plain = subsample_training(w.extract(), 2, 0).tables["train"]
    assert set(plain.samples) == set(drawn.samples)


def test_only_numbers_that_every_origin_has_are_possible(world: Make) -> None:
    parts = world({"real": 20, "gan": 10, "vae": 10}, unknown=("vae",)).extract()
    assert feasible_sizes(parts, (50, 6, 1, 2, 2, 7, 0)) == (1, 2, 6)
    with pytest.raises(DataError, match=r"has 6 training images, fewer than each of 7, 50"):
        feasible_sizes(parts, (7, 50))


def test_each_number_is_fitted_with_each_seed_and_all_images_give_the_whole_fit(
    world: Make,
) -> None:
    w = world(unknown=("ddpm", "flow"))
    options = FitOptions(KNN, jobs=1)
    points = list(
        low_data(
            w.extract(), w.encoder, options, samples_per_class=(1, 9), seeds=(0, 1), cache=w.cache
        )
    )
    assert [(p.samples_per_class, p.seed) for p in points] == [(1, 0), (1, 1), (9, 0), (9, 1)]
    assert w.counting.images == 75
    whole = w.fit(KNN)
    for point in points[2:]:
        assert (point.blocks, point.value) == (whole.model.blocks, whole.model.hyperparameter)
        assert point.accuracy == whole.evaluation.closed.accuracy
        assert point.oscr == whole.evaluation.oscr
        assert point.auroc == whole.model.metrics["auroc"]


def test_a_fusion_of_few_images_is_the_fusion_of_that_draw(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    options = FusionOptions(values=(1.0, 100.0), jobs=1)
    (point,) = low_data(w.extract(), w.encoder, options, samples_per_class=(4,), seeds=(1,))
    expected = fuse(subsample_training(w.extract(), 4, 1), w.encoder, options)
    assert (point.blocks, point.value) == (expected.model.blocks, expected.model.hyperparameter)
    assert (point.accuracy, point.auroc, point.oscr) == tuple(
        expected.model.metrics[name] for name in ("accuracy", "auroc", "oscr")
    )
