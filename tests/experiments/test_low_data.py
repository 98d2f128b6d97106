"""Low-data experiment: draws and fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from whichgen.errors import DataError
from whichgen.experiments.low_data import (
    check_low_data_method,
    describe_low_data_sources,
    measure_low_data,
    select_feasible_sizes,
    subsample_training,
)
from whichgen.training.fit_block import FitOptions
from whichgen.training.fit_fusion import FusionOptions, fuse

from .conftest import KNN

Make = Callable[..., Any]


def test_subsample_has_n_images_per_known_origin_and_keeps_other_splits(world: Make) -> None:
    features = world(unknown=("ddpm", "flow")).extract()
    for shots in (1, 4, 9):
        subset = subsample_training(features, shots, 0)
        counts = Counter(subset.tables["train"].origins.tolist())
        assert counts == dict.fromkeys(features.dataset.known, shots)
        assert set(subset.tables["train"].samples) <= set(features.tables["train"].samples)
        for split in ("val", "val_unknown", "test", "test_unknown"):
            assert subset.tables[split] is features.tables[split]


def test_subsamples_of_one_seed_are_nested_and_differ_between_seeds(world: Make) -> None:
    features = world(unknown=("ddpm", "flow")).extract()

    def paths(shots: int, seed: int) -> set[Any]:
        return {s.path for s in subsample_training(features, shots, seed).tables["train"].samples}

    for seed in (0, 1):
        assert paths(1, seed) < paths(3, seed) < paths(9, seed)
        assert paths(3, seed) == paths(3, seed)
    assert paths(3, 0) != paths(3, 1)


def test_perturbed_copies_accompany_their_image_and_do_not_count(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    features = w.extract(augment=("jpeg", "blur"))
    assert select_feasible_sizes(features, (1, 9, 10)) == (1, 9)
    subset = subsample_training(features, 2, 0).tables["train"]
    assert Counter(Counter(subset.samples).values()) == {3: 2 * 3}
    plain = subsample_training(w.extract(), 2, 0).tables["train"]
    assert set(plain.samples) == set(subset.samples)


def test_fusion_of_images_with_sources_is_rejected(world: Make) -> None:
    features = world(unknown=("ddpm", "flow")).extract()
    assert describe_low_data_sources(features, FitOptions(KNN)) == ""
    tables = {
        split: replace(
            table,
            samples=tuple(
                replace(s, source=f"{split if split != 'test_unknown' else 'train'}-{s.origin}")
                for s in table.samples
            ),
        )
        for split, table in features.tables.items()
    }
    with_sources = replace(features, tables=tables)
    with pytest.raises(DataError, match="Use a linear probe or k-NN"):
        next(measure_low_data(with_sources, None, FusionOptions(), samples_per_class=(1,)))  # type: ignore[arg-type]
    # Under the protocol `paper`, a fusion is not fitted on the validation images.
    check_low_data_method(FusionOptions(protocol="paper"), has_sources=True)
    note = describe_low_data_sources(with_sources, FitOptions(KNN))
    assert note.startswith("On new sources: the model was not trained on images from")
    assert "does not include the variation over sources" in note
    # The protocol `paper` tests on the validation images.
    assert describe_low_data_sources(with_sources, FitOptions(KNN, protocol="paper")).startswith(
        "Optimistic: the model was also trained on images from 3 of the 4 test sources"
    )


def test_feasible_sizes_are_those_every_origin_has(world: Make) -> None:
    features = world({"real": 20, "gan": 10, "vae": 10}, unknown=("vae",)).extract()
    assert select_feasible_sizes(features, (50, 6, 1, 2, 2, 7, 0)) == (1, 2, 6)
    with pytest.raises(DataError, match=r"per origin are \[7, 50\].* has 6 training images"):
        select_feasible_sizes(features, (7, 50))


def test_all_training_images_give_the_full_fit_for_each_seed(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    options = FitOptions(KNN, jobs=1)
    points = list(
        measure_low_data(
            w.extract(), w.encoder, options, samples_per_class=(1, 9), seeds=(0, 1), cache=w.cache
        )
    )
    assert [(p.samples_per_class, p.seed) for p in points] == [(1, 0), (1, 1), (9, 0), (9, 1)]
    assert w.counting.images == 75
    full = w.fit(KNN)
    for point in points[2:]:
        assert (point.blocks, point.value) == (full.model.blocks, full.model.hyperparameter)
        assert point.accuracy == full.evaluation.closed.accuracy
        assert point.oscr == full.evaluation.oscr
        assert point.auroc == full.model.metrics["auroc"]


def test_fusion_point_equals_a_fusion_of_the_subsample(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    options = FusionOptions(values=(1.0, 100.0), jobs=1)
    (point,) = measure_low_data(w.extract(), w.encoder, options, samples_per_class=(4,), seeds=(1,))
    expected = fuse(subsample_training(w.extract(), 4, 1), w.encoder, options)
    assert (point.blocks, point.value) == (expected.model.blocks, expected.model.hyperparameter)
    assert (point.accuracy, point.auroc, point.oscr) == tuple(
        expected.model.metrics[name] for name in ("accuracy", "auroc", "oscr")
    )
