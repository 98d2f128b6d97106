"""Models fitted on random features of two blocks; image files do not exist."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from whichgen.data.dataset import SPLITS, Dataset, Sample
from whichgen.features.store import FeatureStore
from whichgen.features.table import FeatureTable
from whichgen.heads.knn import KnnMethod
from whichgen.training.fit_block import FitOptions, FitResult, fit
from whichgen.training.fit_fusion import FusionOptions, FusionResult, fuse
from whichgen.training.split_features import SplitFeatures

MakeFit = Callable[..., FitResult]
MakeFusion = Callable[..., FusionResult]
MakeSplits = Callable[..., SplitFeatures]


@pytest.fixture
def make_splits(counting: Callable[..., Any], tmp_path: Path) -> MakeSplits:
    """Return a function that creates random features around one mean per origin."""
    encoder = counting().encoder
    store = FeatureStore(tmp_path / "store", encoder)
    rng = np.random.default_rng(0)

    def mean_of(origin: str) -> float:
        return sum(map(ord, origin)) % 7 / 3

    def table(split: str, origins: Sequence[str], images: int, sources: int) -> FeatureTable:
        samples = [
            Sample(
                Path(f"/{split}/{origin}/{i}.png"),
                origin,
                source=f"{split}-{origin}-{i % sources}" if sources else "",
            )
            for origin in origins
            for i in range(images)
        ]
        keys = [rng.bytes(32) for _ in samples]
        blocks = [
            np.float32(rng.normal([mean_of(s.origin) for s in samples], 1, (d, len(samples))).T)
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
        sources: int = 0,
        groups: dict[str, tuple[str, ...]] | None = None,
        notes: tuple[str, ...] = (),
    ) -> SplitFeatures:
        tables = {
            split: table(split, unknown if split.endswith("unknown") else known, images, sources)
            for split in SPLITS
        }
        dataset = Dataset(
            name="mine",
            known=tuple(known),
            unknown=tuple(unknown),
            **{split: t.samples for split, t in tables.items()},
            unknown_groups=groups or {},
            notes=notes,
        )
        return SplitFeatures(dataset, tables)

    return make


@pytest.fixture
def make_fit(counting: Callable[..., Any], make_splits: MakeSplits) -> MakeFit:
    """Return a function that fits k-NN; its other arguments are passed to ``make_splits``."""

    def make(
        *origins: Sequence[str],
        protocol: str = "clean",
        values: tuple[int, ...] = (1, 2, 3),
        **keywords: Any,
    ) -> FitResult:
        options = FitOptions(KnnMethod(values=values), protocol=protocol, jobs=1)
        splits = make_splits(*origins, **keywords)
        return fit(splits, counting().encoder, options, config={"data": "mine"})

    return make


@pytest.fixture
def make_fusion(counting: Callable[..., Any], make_splits: MakeSplits) -> MakeFusion:
    """Return a function that fits a fusion; its arguments are passed to ``make_splits``."""

    def make(*origins: Sequence[str], **keywords: Any) -> FusionResult:
        options = FusionOptions(
            values=(1.0,), shrinkages=(1.0,), scores=("max_logit", "energy"), jobs=1
        )
        splits = make_splits(*origins, **keywords)
        return fuse(splits, counting().encoder, options, config={"data": "mine"})

    return make


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Omit the plots, which take most of the time of a small run."""
    monkeypatch.setattr("whichgen.report.run_folder.plot_run", lambda _: [])


def read_rows(file: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file."""
    with file.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def strict_json(text: str) -> Any:
    """Parse JSON as the standard defines it, without NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def check_plots(folder: Path, names: set[str]) -> None:
    """Check that all plots exist and fill their images."""
    assert {p.stem for p in (folder / "plots").iterdir()} == names
    for path in (folder / "plots").iterdir():
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.float64)
        assert min(pixels.shape[:2]) > 200, path
        ink = (pixels < 250).any(axis=2)
        assert ink.mean() > 0.002, path
        for axis in (0, 1):
            positions = np.flatnonzero(ink.any(axis=axis))
            assert positions[-1] - positions[0] > 0.6 * ink.shape[1 - axis], path
