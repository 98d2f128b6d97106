"""The work of the commands that test a saved model: load it and open the dataset to test it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichgen.cli.console import progress
from whichgen.cli.options import ModelOptions, SplitFlags, TestData, open_store
from whichgen.data.dataset import Dataset
from whichgen.data.dataset_options import DatasetOptions
from whichgen.encoders.base import Encoder
from whichgen.errors import DataError
from whichgen.features.store import FeatureStore
from whichgen.io.run_metadata import collect_run_metadata
from whichgen.models.origin_model import OriginModel


@dataclass(frozen=True)
class ModelTest:
    """A saved model with its encoder, and the dataset to test it on."""

    path: Path
    model: OriginModel
    encoder: Encoder
    source: DatasetOptions
    dataset: Dataset
    store: FeatureStore

    def run_metadata(
        self, settings: Mapping[str, Any], data_hash: str, **seeds: int
    ) -> dict[str, Any]:
        """Return the record of a test with these settings."""
        return collect_run_metadata(
            {**self.source.as_config(), **settings, "model": str(self.path.resolve())},
            seeds={"seed": self.source.seed, **seeds},
            encoder=self.encoder.describe(),
            data_hash=data_hash,
        )


def open_model_test(model: ModelOptions, test: TestData) -> ModelTest:
    """Load the model and open the dataset of ``--data``, or the one it was trained on."""
    attributor = model.load()
    config = attributor.model.run_metadata.get("config", {})
    if test.data:
        source = test.split.dataset_options(data=test.data)
    elif test.split != SplitFlags():
        raise DataError(
            "options such as --unknown, --groups and --seed describe another dataset. Name it "
            "with --data, or omit them to use the model's own test split."
        )
    elif "data" in config:
        source = DatasetOptions.from_config(config)
    else:
        raise DataError("the model does not record its dataset. Name a dataset with --data.")
    dataset = source.open(test.cache_dir, progress=progress)
    store = open_store(test.cache_dir, attributor.encoder)
    return ModelTest(model.path, attributor.model, attributor.encoder, source, dataset, store)
