"""Load a saved model, and open its test dataset and feature store."""

from __future__ import annotations

from dataclasses import dataclass

from whichgen.cli.console import progress, say
from whichgen.cli.options import SplitFlags, TestOptions, open_store
from whichgen.data.dataset import Dataset
from whichgen.data.dataset_options import DatasetOptions
from whichgen.encoders.base import Encoder
from whichgen.errors import DataError
from whichgen.features.store import FeatureStore
from whichgen.models.origin_model import OriginModel


@dataclass(frozen=True)
class ModelTest:
    """Saved model and its encoder, and the test dataset, its options and a feature store."""

    model: OriginModel
    encoder: Encoder
    source: DatasetOptions
    dataset: Dataset
    store: FeatureStore


def open_model_test(test: TestOptions) -> ModelTest:
    """Load the model, and open its test dataset and feature store.

    The test dataset is that of ``--data`` or, without ``--data``, the dataset that the model was
    trained on.

    Raises
    ------
    DataError
        ``--data`` is missing, and either another dataset option was given or the model does not
        record its dataset.
    """
    attributor = test.model.load()
    config = attributor.model.run_metadata.get("config", {})
    if test.data:
        source = test.split.dataset_options(data=test.data)
    elif test.split != SplitFlags():
        raise DataError(
            "dataset options such as --unknown, --sources and --seed require --data. Add --data, "
            "or omit them to use the model's own test split."
        )
    elif "data" in config:
        source = DatasetOptions.from_config(config)
    else:
        raise DataError("the model does not record its dataset. Name a dataset with --data.")
    dataset = source.open(test.cache_dir, progress=progress)
    for note in dataset.notes:
        say(f"note: {note}")
    store = open_store(test.cache_dir, attributor.encoder)
    return ModelTest(attributor.model, attributor.encoder, source, dataset, store)
