"""Fits and fusions made by hand: many or few origins, with features of two blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whichgen.data.dataset import Dataset, Sample
from whichgen.features.store import FeatureStore
from whichgen.features.table import FeatureTable
from whichgen.heads.knn import KnnMethod
from whichgen.training.fit_block import FitOptions, FitResult, fit
from whichgen.training.fit_fusion import FusionOptions, FusionResult, fuse
from whichgen.training.split_features import SplitFeatures

Make = Callable[..., FitResult]
MakeFused = Callable[..., FusionResult]
MakeParts = Callable[..., SplitFeatures]


@pytest.fixture
def make_parts(counting: Callable[..., Any], tmp_path: Path) -> MakeParts:
    """Makes parts of random features; no image is there, only paths."""
    encoder = counting().encoder
    store = FeatureStore(tmp_path / "store", encoder)
    rng = np.random.default_rng(0)

    def table(part: str, origins: Sequence[str], images: int) -> FeatureTable:
        samples = [Sample(Path(f"/{part}/{o}/{i}.png"), o) for o in origins for i in range(images)]
        keys = [rng.bytes(32) for _ in samples]
        blocks = [
            np.float32(rng.normal([hash_of(s.origin) for s in samples], 1, (d, len(samples))).T)
            for d in encoder.block_dims
        ]
        if samples:
            store.add(keys, blocks)
        return FeatureTable(tuple(samples), tuple(keys), tuple(keys), store, ("",) * len(keys))

    def make(
        known: Sequence[str] = ("real", "gan", "vae"),
        unknown: Sequence[str] = ("flow", "ddpm"),
        *,
        images: int = 6,
        groups: dict[str, tuple[str, ...]] | None = None,
        notes: tuple[str, ...] = (),
    ) -> SplitFeatures:
        tables = {
            part: table(part, unknown if part.endswith("unknown") else known, images)
            for part in ("train", "val", "val_unknown", "test", "test_unknown")
        }
        dataset = Dataset(
            name="mine",
            known=tuple(known),
            unknown=tuple(unknown),
            **{part: t.samples for part, t in tables.items()},
            unknown_groups=groups or {},
            notes=notes,
        )
        return SplitFeatures(dataset, tables)

    return make


@pytest.fixture
def make_fit(counting: Callable[..., Any], make_parts: MakeParts) -> Make:
    """Makes a fit of k-NN; other arguments are those of :func:`make_parts`."""

    def make(
        *origins: Sequence[str],
        protocol: str = "clean",
        values: tuple[int, ...] = (1, 2, 3),
        **keywords: Any,
    ) -> FitResult:
        head_method = KnnMethod(values=values)
        options = FitOptions(head_method, protocol=protocol, jobs=1)
        parts = make_parts(*origins, **keywords)
        config = {"data": "mine", "head": {"name": head_method.name}}
        return fit(parts, counting().encoder, options, config=config)

    return make


@pytest.fixture
def make_fused(counting: Callable[..., Any], make_parts: MakeParts) -> MakeFused:
    """Makes a fusion; arguments are those of :func:`make_parts`."""

    def make(*origins: Sequence[str], **keywords: Any) -> FusionResult:
        options = FusionOptions(
            values=(1.0,), shrinkages=(1.0,), scores=("max_logit", "energy"), jobs=1
        )
        parts = make_parts(*origins, **keywords)
        return fuse(parts, counting().encoder, options, config={"data": "mine"})

    return make


def hash_of(origin: str) -> float:
    """Where an origin's features lie; the same in every process."""
    return sum(map(ord, origin)) % 7 / 3
