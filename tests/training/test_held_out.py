"""Held-out images by source: no model predicts a source that it was fitted on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whichgen.data.dataset import Dataset, Sample
from whichgen.errors import DataError
from whichgen.evaluation.protocols import Fold
from whichgen.features.table import FeatureTable
from whichgen.heads.head import HeadOutput
from whichgen.training.held_out import (
    SOURCE_FOLDS,
    HeldOutImages,
    has_sources,
    make_source_folds,
    pool_training_images,
)
from whichgen.training.split_features import SplitFeatures

KNOWN = ("real", "gan", "vae")


def make_table(samples: list[Sample]) -> FeatureTable:
    keys = tuple(str(s.path).encode() for s in samples)
    empty = ("",) * len(samples)
    return FeatureTable(tuple(samples), keys, keys, None, empty)  # type: ignore[arg-type]


def make_features(n_sources: int = 6, *, shared: str = "") -> SplitFeatures:
    """Features whose training and validation images have ``n_sources`` sources per origin."""

    def images(origin: str, sources: range) -> list[Sample]:
        names = [shared if shared and origin == "vae" else f"{origin}-{s}" for s in sources]
        return [
            Sample(Path(f"{origin}/{s}/{i}.png"), origin, source=name)
            for s, name in zip(sources, names, strict=True)
            for i in range(3)
        ]

    train = [s for origin in KNOWN for s in images(origin, range(n_sources - 1))]
    val = [s for origin in KNOWN for s in images(origin, range(n_sources - 1, n_sources))]
    unknown = [Sample(Path(f"ddpm/{i}.png"), "ddpm", source=f"real-{i}") for i in range(4)]
    dataset = Dataset("images", KNOWN, ("ddpm",), tuple(train), tuple(val), (), tuple(unknown))
    splits = {"train": train, "val": val, "val_unknown": unknown}
    return SplitFeatures(dataset, {name: make_table(s) for name, s in splits.items()})


def test_pooled_images_are_counted_once() -> None:
    features = make_features()
    counts = features.image_counts
    assert counts["train"]["real"] == 15
    assert counts["val"]["real"] == 3
    assert pool_training_images(features).image_counts == counts


def test_every_training_image_is_held_out_once_with_its_source() -> None:
    features = pool_training_images(make_features())
    assert has_sources(features)
    folds = make_source_folds(features, [Fold(KNOWN, ("ddpm",), "val_unknown")], seed=0)
    assert len(folds) == SOURCE_FOLDS
    held_out = [key for fold in folds for key in fold.known.keys]
    assert sorted(held_out) == sorted(features.tables["train"].keys)
    for fold in folds:
        sources = {s.source for s in fold.train.samples}
        assert not sources & {s.source for s in (*fold.known.samples, *fold.unknown.samples)}
        assert {s.origin for s in fold.train.samples} == set(KNOWN)


def test_generators_held_out_as_unknown_are_not_trained_on() -> None:
    features = pool_training_images(make_features())
    protocol = [Fold(("real", "gan"), ("vae",), "val"), Fold(("real", "vae"), ("gan",), "val")]
    for k, fold in enumerate(make_source_folds(features, protocol, seed=0)):
        expected = protocol[k % 2]
        assert fold.origins == expected.known
        assert {s.origin for s in fold.train.samples} == set(expected.known)
        assert {s.origin for s in fold.unknown.samples} <= set(expected.unknown)


def test_fold_without_known_images_is_left_out() -> None:
    # Three origins with two sources each fill six of the folds.
    features = pool_training_images(make_features(n_sources=2))
    folds = make_source_folds(features, [Fold(KNOWN, ("ddpm",), "val_unknown")], seed=0)
    assert 0 < len(folds) < SOURCE_FOLDS
    assert all(len(fold.known) for fold in folds)
    assert sum(len(fold.known) for fold in folds) == len(features.tables["train"])


def test_an_origin_of_one_source_is_refused() -> None:
    features = pool_training_images(make_features(shared="gallery"))
    with pytest.raises(DataError, match="images of vae come from too few sources"):
        make_source_folds(features, [Fold(KNOWN, (), "val")], seed=0)


def test_images_of_known_origins() -> None:
    labels = np.array([1, 2, 1, 0, -1, 0, 1])
    output = HeadOutput.from_logits(np.eye(3)[labels], np.empty((7, 0)))
    origins = np.array([*KNOWN, "new"])[labels]
    known = HeldOutImages(output, np.arange(7.0), labels, origins, np.array([*"aabbccd"])).known
    assert known.labels.tolist() == [1, 2, 1, 0, 0, 1]
    assert known.scores.tolist() == [0, 1, 2, 3, 5, 6]
    assert "".join(known.sources) == "aabbcd"


def test_outputs_are_concatenated_and_taken_by_row() -> None:
    rng = np.random.default_rng(0)
    first, second = (
        HeadOutput.from_logits(rng.normal(size=(n, 3)), np.ones((n, 2))) for n in (4, 2)
    )
    both = HeadOutput.concatenate([first, second])
    assert both.embedding.shape == (6, 0)
    part = both.take(np.array([5, 0]))
    assert np.array_equal(part.logits, [second.logits[1], first.logits[0]])
    assert np.array_equal(part.log_probabilities[0, 1], first.log_probabilities[0, 0])
    assert part.view_weights.tolist() == [[1.0, 1.0]]
    assert first.take(np.array([2])).embedding.tolist() == [[1.0, 1.0]]
