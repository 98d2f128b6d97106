"""Shared steps of the training commands: extract features, fit a model, write the run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from whichgen.cli.console import say, show_progress, warn, warn_skipped
from whichgen.cli.run_output import show_run
from whichgen.cli.shared_options import check_writable, open_store, parse_kinds
from whichgen.cli.training_options import TrainOptions
from whichgen.data.dataset import SPLITS
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.encoder_names import TRACES, split_members, split_variants
from whichgen.encoders.loading import load_encoder
from whichgen.errors import DataError, FitError
from whichgen.evaluation.protocols import select_splits
from whichgen.features.extraction import EncodingReader
from whichgen.features.store import FeatureStore
from whichgen.heads.head import HeadMethod, SweepMethod
from whichgen.io.run_metadata import get_timestamp
from whichgen.report.run_folder import write_run
from whichgen.report.run_reader import read_run
from whichgen.training.fit_block import FitOptions, FitResult, fit
from whichgen.training.fit_fusion import FusionOptions, FusionResult, fuse
from whichgen.training.label_shuffle import run_label_shuffle
from whichgen.training.shortcut_check import check_shortcuts
from whichgen.training.split_features import FITTING_SPLITS, SplitFeatures, extract_splits


@dataclass(frozen=True)
class TrainingData:
    """Encoder, features, run folder and recorded configuration of a run."""

    encoder: Encoder
    features: SplitFeatures
    folder: Path
    config: Mapping[str, Any]


def add_traces(options: TrainOptions) -> TrainOptions:
    """Return options whose backbone includes the residual statistics (``traces``)."""
    backbone = options.encoder.backbone
    if TRACES in split_members(backbone):
        return options
    return replace(options, encoder=replace(options.encoder, backbone=f"{backbone}+{TRACES}"))


def build_fit_options(
    options: TrainOptions, head_method: SweepMethod | None = None, **settings: Any
) -> FitOptions | FusionOptions:
    """Build :class:`FitOptions` for a head method, or :class:`FusionOptions` if it is ``None``.

    ``settings`` are further fields of the returned options.

    Raises
    ------
    DataError
        ``--blocks`` is set for a fusion, or ``--protocol`` is invalid.
    FitError
        Another option is invalid.
    """
    selection = options.selection
    settings |= {
        "protocol": selection.protocol,
        "tpr": options.tpr,
        "seed": options.split.seed,
        "jobs": options.jobs or -1,
        "thumbnails": not options.no_thumbnails,
    }
    if selection.metric:
        settings["metric"] = selection.metric
    blocks = tuple(selection.blocks or ())
    if head_method:
        return FitOptions(head_method=head_method, blocks=blocks, **settings)
    if blocks:
        raise DataError("fusion uses all blocks. Omit --blocks, or use a linear probe.")
    return FusionOptions(**settings)


def prepare_training(
    options: TrainOptions, library_options: FitOptions | FusionOptions, method: str
) -> TrainingData:
    """Open the dataset, create the run folder, load the encoder and extract the features.

    Parameters
    ----------
    options
        Options from the command line.
    library_options
        Options of :func:`fit` or :func:`fuse`.
    method
        Name of the subfolder of ``output`` for runs without ``--output-dir``. ``--augment`` applies
        to all splits used for fitting if this is "fusion", and otherwise only to the training set.

    Raises
    ------
    DataError
        The dataset or an option is invalid, the run folder is not available (see
        :func:`reserve_run_folder`), or a known origin has no readable image in a split.
    EncoderError
        The encoder can't be loaded, or can't compute the features.
    FitError
        ``--blocks`` contains a block that the encoder does not have.
    StoreError
        The feature store or the cached facts about images can't be read or written.
    OSError
        The run folder can't be created, or the splits of the dataset can't be written to the cache.

    Warns
    -----
    WhichgenWarning
        See :meth:`whichgen.data.dataset_options.DatasetOptions.open` and
        :func:`~whichgen.training.split_features.extract_splits`.
    """
    data_options = options.split.build_dataset_options(data=options.data)
    augment = parse_kinds(options.augment)
    config = {
        **data_options.as_config(),
        "backbone": options.encoder.name,
        "dtype": options.encoder.dtype,
        "head": asdict(getattr(library_options, "head_method", library_options)),
        "blocks": list(options.selection.blocks or ()),
        "metric": library_options.metric,
        "protocol": library_options.protocol,
        "tpr": library_options.tpr,
        "augment": list(augment),
    }
    output_dir, backbone = options.output_dir or Path("output") / method, options.encoder.name
    splits = select_splits(library_options.protocol)

    @cache
    def open_run(name: str) -> tuple[Encoder, FeatureStore]:
        """Reserve the run folder for the dataset ``name``; return the encoder and its store."""
        reserve_run_folder(get_run_folder(output_dir, backbone, name), config, force=options.force)
        encoder = load_encoder(backbone, device=options.encoder.device, dtype=options.encoder.dtype)
        if isinstance(library_options, FitOptions):
            library_options.list_blocks(encoder)
        return encoder, open_store(options.cache_dir, encoder)

    reader = EncodingReader(
        options.cache_dir,
        partial(open_run, Path(options.data).resolve().name),
        lambda samples: splits == SPLITS and data_options.uses_most_images(samples),
        batch_size=options.encoder.batch_size,
    )
    dataset = data_options.open(options.cache_dir, reader=reader, progress=show_progress)
    reader.only_facts = True
    for note in dataset.notes:
        say(f"note: {note}")
    encoder, store = open_run(dataset.name)
    features = extract_splits(
        dataset,
        encoder,
        store,
        splits=splits,
        reader=reader,
        augment=augment,
        augmented_splits=FITTING_SPLITS if method == "fusion" else ("train",),
        seed=library_options.seed,
        batch_size=options.encoder.batch_size,
        progress=show_progress,
    )
    warn_skipped(features.skipped)
    return TrainingData(
        encoder, features, get_run_folder(output_dir, backbone, dataset.name), config
    )


def get_run_folder(output_dir: Path, backbone: str, dataset: str) -> Path:
    """Return the run folder ``OUTPUT_DIR/BACKBONE/DATASET``.

    In the names of the backbone and the dataset, colons are replaced with underscores, and
    ``split=`` is omitted. A local encoder folder is represented by its name.
    """

    def format_member(member: str) -> str:
        name, variants = split_variants(member)
        return "_".join([Path(name).name if Path(name).is_dir() else name, *variants])

    data = dataset.replace(":split=", "_").replace(":", "_")
    return output_dir / "+".join(map(format_member, split_members(backbone))) / data


def reserve_run_folder(folder: Path, config: Mapping[str, Any], *, force: bool) -> None:
    """Create the run folder, and check that it contains no run with other settings.

    This function is called before training, and again before the results are written.

    Raises
    ------
    DataError
        The folder is not writable or contains a run with other settings (unless ``force``), or the
        environment variable ``SOURCE_DATE_EPOCH`` is not a valid time.
    OSError
        The folder can't be created, or its ``results.json`` can't be read.
    """
    check_writable(folder).mkdir(parents=True, exist_ok=True)
    get_timestamp()
    file = folder / "results.json"
    if force or not file.is_file():
        return
    try:
        previous = json.loads(file.read_text(encoding="utf-8"))["run_metadata"]["config"]
    except (ValueError, KeyError, TypeError):
        return
    current = json.loads(json.dumps(config))
    if changed_settings := [key for key, value in current.items() if previous.get(key) != value]:
        raise DataError(
            f"{folder} contains a run with other settings ({', '.join(changed_settings)}). "
            "Choose another --output-dir, or add --force to overwrite the run."
        )


def train(options: TrainOptions, library_options: FitOptions | FusionOptions, method: str) -> None:
    """Train a model, run the control experiments, write the run folder and print the results.

    See :func:`prepare_training` for the parameters.

    Raises
    ------
    DataError, EncoderError, FitError, StoreError, OSError
        See :func:`prepare_training`, :func:`~whichgen.training.shortcut_check.check_shortcuts`,
        :func:`~whichgen.training.fit_block.fit`, :func:`~whichgen.training.fit_fusion.fuse` and
        :func:`~whichgen.report.run_folder.write_run`.
    """
    data = prepare_training(options, library_options, method)
    features, encoder, folder = data.features, data.encoder, data.folder
    shortcuts = shuffle = None
    if not options.controls.no_shortcut_check:
        shortcuts = check_shortcuts(
            features.dataset, features.reader, seed=library_options.seed, progress=show_progress
        )
    settings: dict[str, Any] = {"config": data.config, "progress": show_progress}
    result: FitResult | FusionResult
    if isinstance(library_options, FusionOptions):
        result = fuse(features, encoder, library_options, **settings)
        head_method: HeadMethod = result.head_method
    else:
        sweeps = options.cache_dir / "sweeps"
        result = fit(features, encoder, library_options, cache=sweeps, **settings)
        head_method = library_options.head_method
    seeds, jobs = range(options.controls.shuffles), library_options.jobs
    try:
        if seeds:
            shuffle = run_label_shuffle(
                result, head_method, seeds=seeds, jobs=jobs, progress=show_progress
            )
    except FitError as error:
        warn(f"The shuffled-label control failed and is omitted from the report: {error}")
    reserve_run_folder(folder, data.config, force=options.force)
    write_run(result, folder, shortcuts=shortcuts, shuffle=shuffle, progress=show_progress)
    show_run(read_run(folder), features.dataset.name)
    say(f"Run folder: {folder} (report.md, results.json, plots/, model/)")
