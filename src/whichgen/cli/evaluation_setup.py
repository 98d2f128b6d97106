"""Prepare an evaluation: load a saved model, and open a test dataset and a feature store."""

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
    """A saved model, its encoder, a test dataset, the dataset's options and the feature store."""

    model: OriginModel
    encoder: Encoder
    data_options: DatasetOptions
    dataset: Dataset
    store: FeatureStore


def prepare_evaluation(options: EvaluationOptions) -> EvaluationSetup:
    """Load the model, and open the test dataset and the encoder's feature store.

    The test dataset is the value of ``--data`` or, without ``--data``, the dataset on which the
    model was trained. The notes of the dataset are printed.

    Raises
    ------
    DataError
        ``--model`` is missing, or the dataset or one of its options is invalid. ``--data`` is
        missing, and either another dataset option is set or the model does not record its dataset.
    EncoderError, ModelFileError
        See :meth:`whichgen.cli.shared_options.ModelOptions.load`.
    StoreError
        The feature store or the cached facts about images can't be read or written.
    OSError
        The splits of the dataset can't be written to the cache.

    Warns
    -----
    WhichgenWarning
        See :meth:`whichgen.data.dataset_options.DatasetOptions.open`.
    """
    attributor = options.model.load()
    config = attributor.model.run_metadata.get("config", {})
    if options.data:
        data_options = options.split.build_dataset_options(data=options.data)
    elif options.split != SplitFlags():
        raise DataError(
            "dataset options such as --unknown, --sources and --seed require --data. Add --data, "
            "or omit them to use the model's own test split."
        )
    elif "data" in config:
        data_options = DatasetOptions.from_config(config)
    else:
        raise DataError("the model does not record its dataset. Specify a dataset with --data.")
    dataset = data_options.open(options.cache_dir, progress=show_progress)
    for note in dataset.notes:
        say(f"note: {note}")
    store = open_store(options.cache_dir, attributor.encoder)
    return EvaluationSetup(attributor.model, attributor.encoder, data_options, dataset, store)
