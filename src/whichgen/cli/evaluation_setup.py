"""Load a saved model, and open its test dataset and feature store."""

from __future__ import annotations

from dataclasses import dataclass

from whichgen.cli.console import say, show_progress
from whichgen.cli.shared_options import EvaluationOptions, SplitFlags, open_store
from whichgen.data.dataset import Dataset
from whichgen.data.dataset_options import DatasetOptions
from whichgen.encoders.encoder import Encoder
from whichgen.errors import DataError
from whichgen.features.store import FeatureStore
from whichgen.models.origin_model import OriginModel


@dataclass(frozen=True)
class EvaluationSetup:
    """A saved model with its encoder, and a test dataset with its options and feature store."""

    model: OriginModel
    encoder: Encoder
    data_options: DatasetOptions
    dataset: Dataset
    store: FeatureStore


def prepare_evaluation(test: EvaluationOptions) -> EvaluationSetup:
    """Load the model, and open its test dataset and feature store.

    The test dataset is the value of ``--data`` or, without ``--data``, the dataset on which the
    model was trained.

    Raises
    ------
    DataError
        ``--data`` is missing, and either another dataset option is set or the model does not record
        its dataset.
    """
    attributor = test.model.load()
    config = attributor.model.run_metadata.get("config", {})
    if test.data:
        data_options = test.split.build_dataset_options(data=test.data)
    elif test.split != SplitFlags():
        raise DataError(
            "dataset options such as --unknown, --sources and --seed require --data. Add --data, "
            "or omit them to use the model's own test split."
        )
    elif "data" in config:
        data_options = DatasetOptions.from_config(config)
    else:
        raise DataError("the model does not record its dataset. Specify a dataset with --data.")
    dataset = data_options.open(test.cache_dir, progress=show_progress)
    for note in dataset.notes:
        say(f"note: {note}")
    store = open_store(test.cache_dir, attributor.encoder)
    return EvaluationSetup(attributor.model, attributor.encoder, data_options, dataset, store)
