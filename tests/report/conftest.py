"""Fits made by hand: many or few origins, with features of two blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whichgen.data.samples import Dataset, Sample
from whichgen.experiments.fit import Fit, FitOptions, fit
from whichgen.experiments.parts import Parts
from whichgen.features.extract import FeatureTable
from whichgen.features.store import FeatureStore
from whichgen.heads.knn import KNearestNeighbours

Make = Callable[..., Fit]


@pytest.fixture
def make_fit(counting: Callable[..., Any], tmp_path: Path) -> Make:
    """Makes a fit of k-NN on random features; no image is there, only paths."""
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
        protocol: str = "clean",
        values: tuple[int, ...] = (1, 2, 3),
        groups: dict[str, tuple[str, ...]] | None = None,
        notes: tuple[str, ...] = (),
    ) -> Fit:
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
        family = KNearestNeighbours(values=values)
        options = FitOptions(family, protocol=protocol, jobs=1)
        return fit(Parts(dataset, tables), encoder, options, config={"data": "mine"})

    return make


def hash_of(origin: str) -> float:
    """Where an origin's features lie; the same in every process."""
    return sum(map(ord, origin)) % 7 / 3
