"""The features of a data set's parts: augmentation, digests, what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from whichgen.data.dataset import SPLITS
from whichgen.data.images.perturbations import INTENSITIES, Perturbation
from whichgen.errors import DataError
from whichgen.evaluation.protocols import Fold
from whichgen.features.store import compute_feature_key
from whichgen.training.split_features import (
    SplitFeatures,
    extract_splits,
    select_fold_tables,
)

Make = Callable[..., Any]


def test_every_part_has_its_images_and_each_is_encoded_once(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    parts = w.extract()
    assert tuple(parts.tables) == SPLITS
    for part in SPLITS:
        assert parts.tables[part].samples == w.dataset.split(part)
    assert w.counting.images == 75
    assert parts.skipped == ()


def test_one_batch_of_all_splits_is_padded(world: Make) -> None:
    w, sizes = world(unknown=("ddpm", "flow")), []

    def encode(pixels: np.ndarray) -> list[np.ndarray]:
        sizes.append(len(pixels))
        return list(w.encoder.encode(pixels))

    extract_splits(w.dataset, replace(w.encoder, encode=encode), w.store, batch_size=16)
    assert sizes == [16] * 5  # 75 images


def test_augmentation_adds_a_copy_of_each_kind_to_training_images_alone(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    plain = w.extract()
    parts = w.extract(augment=("jpeg", "crop"))
    for part in SPLITS[1:]:
        assert parts.tables[part].keys == plain.tables[part].keys
    train, n = parts.tables["train"], len(w.dataset.train)
    assert train.samples == w.dataset.train * 3
    assert train.keys[:n] == plain.tables["train"].keys
    for copy, kind in ((1, "jpeg"), (2, "crop")):
        drawn: Counter[float] = Counter()
        for digest, key in list(zip(train.digests, train.keys, strict=True))[copy * n :][:n]:
            (value,) = [
                v for v in INTENSITIES[kind] if compute_feature_key(digest, f"{kind}:{v:g}") == key
            ]
            drawn[value] += 1
        assert len(drawn) >= 4
    assert parts.data_hash != plain.data_hash


def test_augmentation_is_seeded(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    first, again, other = (w.extract(augment=("blur",), seed=s) for s in (0, 0, 1))
    assert first.tables["train"].keys == again.tables["train"].keys
    assert first.tables["train"].keys != other.tables["train"].keys


def test_a_perturbation_is_put_on_every_image_of_the_parts_asked_for(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    parts = w.extract(splits=("test", "test_unknown"), perturbation=Perturbation("jpeg", 10))
    assert tuple(parts.tables) == ("test", "test_unknown")
    for table in parts.tables.values():
        assert table.keys == tuple(compute_feature_key(d, "jpeg:10") for d in table.digests)


def test_the_digest_of_data_changes_with_content_origin_part_and_order_and_nothing_else(
    world: Make,
) -> None:
    w = world(unknown=("ddpm", "flow"))
    parts = w.extract()
    assert w.extract().data_hash == parts.data_hash
    train, val = parts.tables["train"], parts.tables["val"]
    relabeled = replace(
        train, samples=(replace(train.samples[0], origin="other"), *train.samples[1:])
    )
    order = [1, 0, *range(2, len(train))]
    moved = {"train": train.take(range(1, len(train))), "val": val + train.take([0])}
    digests = {
        SplitFeatures(w.dataset, {**parts.tables, **changed}).data_hash
        for changed in (
            {},
            {"train": relabeled},
            {"train": train.take(order)},
            {"train": train.take(range(1, len(train)))},
            moved,
        )
    }
    assert len(digests) == 5
    path = train.samples[0].path
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    image.putpixel((0, 0), (255, 0, 255))
    image.save(path)
    assert w.extract().data_hash not in digests
    renamed = replace(train.samples[0], path=path.rename(path.with_name("renamed.png")))
    dataset = replace(
        w.dataset, train=tuple(renamed if s == train.samples[0] else s for s in w.dataset.train)
    )
    changed = extract_splits(dataset, w.encoder, w.store)
    assert changed.data_hash != parts.data_hash
    image.save(path)
    assert changed.data_hash == w.extract().data_hash


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_known_origin_without_a_readable_image_is_an_error_that_names_it(
    world: Make, part: str
) -> None:
    w = world(unknown=("ddpm", "flow"))
    for sample in w.dataset.split(part):
        if sample.origin == "gan":
            sample.path.write_text("no image")
    with pytest.raises(DataError, match=rf"no readable {part} image of gan .*not an image"):
        w.extract()


def test_unreadable_images_are_left_out_with_one_reason_each(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    gone = w.dataset.train[0].path, w.dataset.test_unknown[3].path
    for path in gone:
        path.unlink()
    parts = w.extract(augment=("jpeg",))
    assert [reason.partition(": ")[0] for reason in parts.skipped] == [str(p) for p in gone]
    assert len(parts.tables["train"]) == 2 * (len(w.dataset.train) - 1)
    w.fit()  # and goes on without them


def test_fold_contains_only_its_own_origins(world: Make) -> None:
    w = world(unknown=("flow",))
    known = tuple(o for o in w.dataset.known if o != "gan")
    fold = select_fold_tables(w.extract(), Fold(known, ("gan",), "val"))
    assert fold.origins == known
    assert set(fold.train.origins) == set(fold.known.origins) == set(known)
    assert set(fold.unknown.origins) == {"gan"}
    assert {s.path for s in fold.unknown.samples} <= {s.path for s in w.dataset.val}
