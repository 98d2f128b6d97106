"""Small data sets with the features of an encoder that counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from whichgen.data.dataset import Dataset
from whichgen.data.splits.split_images import split_folder
from whichgen.data.splits.split_options import SplitOptions
from whichgen.encoders.encoder import Encoder
from whichgen.features.store import FeatureStore
from whichgen.heads.knn import KnnMethod
from whichgen.heads.linear import LinearMethod
from whichgen.training.fit_block import FitOptions, FitResult, fit
from whichgen.training.split_features import SplitFeatures, extract_splits

#: Photographs and four generators.
COUNTS = dict.fromkeys(("real", "gan", "vae", "ddpm", "flow"), 15)

LINEAR = LinearMethod(values=(0.1, 10.0, 1000.0))
KNN = KnnMethod(values=(1, 2, 3, 5, 8))


@dataclass
class World:
    """A split folder, its features, and the counting encoder behind them."""

    folder: Path
    dataset: Dataset
    counting: Any
    encoder: Encoder
    store: FeatureStore
    cache: Path
    options: SplitOptions

    def extract(self, **keywords: Any) -> SplitFeatures:
        """Extract its features."""
        return extract_splits(self.dataset, self.encoder, self.store, **keywords)

    def fit(self, head_method: Any = LINEAR, **options: Any) -> FitResult:
        """Fit in this process and cache the sweeps."""
        all_options = FitOptions(head_method, **{"jobs": 1, **options})
        return fit(self.extract(), self.encoder, all_options, cache=self.cache)


@pytest.fixture
def world(
    image_folder: Callable[..., Path], counting: Callable[..., Any], tmp_path: Path
) -> Callable[..., World]:
    """Make a :class:`World`; keywords are ``counts`` and those of :class:`SplitOptions`."""

    def make(counts: dict[str, int] | None = None, name: str = "images", **keywords: Any) -> World:
        folder = image_folder(counts or COUNTS, name=name)
        options = SplitOptions(**keywords)
        counter = counting()
        return World(
            folder=folder,
            dataset=split_folder(folder, options, near_distance=-1),
            counting=counter,
            encoder=counter.encoder,
            store=FeatureStore(tmp_path / "store", counter.encoder),
            cache=tmp_path / "sweeps",
            options=options,
        )

    return make
