"""Options of every command that trains a model, and what follows from them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from typer import Option

from whichgen.cli.console import progress, say, warn_skipped
from whichgen.cli.options import (
    CACHE_DIR,
    CacheDir,
    EncoderOptions,
    Force,
    SplitFlags,
    check_writable,
    open_store,
    parse_kinds,
    split_names,
)
from whichgen.constants import SAMPLES_PER_CLASS, TPR
from whichgen.errors import DataError
from whichgen.io.run_metadata import get_timestamp

if TYPE_CHECKING:
    from whichgen.data.dataset import Dataset
    from whichgen.data.dataset_options import DatasetOptions
    from whichgen.encoders.base import Encoder
    from whichgen.heads.base import SweepMethod
    from whichgen.training.fit_block import FitOptions
    from whichgen.training.fit_fusion import FusionOptions
    from whichgen.training.split_features import SplitFeatures

#: Other spellings of options and commands, without dashes: those of the reference implementation
#: (UniversalAttribution), which also writes underscores, and names written as one word.
ALIASES = {
    "c-step": "c-values",
    "k-step": "k-values",
    "config-name": "config",
    "max-train-iters": "max-iter",
    "lowdata": "low-data",
    "fewshot": "few-shot",
}


def normalize_name(name: str) -> str:
    """Return the main spelling of an option or command: ``c_step`` → ``c-values``."""
    dashed = name.replace("_", "-")
    return ALIASES.get(dashed, dashed)


def load_config(context: typer.Context, value: str) -> str:
    """Take option defaults from a TOML file; ``base`` means the built-in defaults."""
    if value in ("", "base"):
        return value
    try:
        settings = tomllib.loads(Path(value).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise typer.BadParameter(
            f"{value} can't be read as TOML ({error}). Write lines such as "
            'backbone = "efficientnet_lite0", or omit --config.'
        ) from None
    defaults = {normalize_name(key).replace("-", "_"): value for key, value in settings.items()}
    allowed = {str(parameter.name) for parameter in context.command.params}
    if unknown := sorted(defaults.keys() - allowed):
        raise typer.BadParameter(
            f"{value}: unknown option {', '.join(unknown)}. "
            f"Choose from {', '.join(sorted(allowed))}."
        )
    for name, setting in defaults.items():
        if isinstance(setting, list) and name != "blocks":
            defaults[name] = ",".join(map(str, setting))
    context.default_map = {**(context.default_map or {}), **defaults}
    return value


@dataclass(frozen=True)
class SelectionFlags:
    """How block and hyperparameters are selected."""

    panel: ClassVar = "Model selection"

    blocks: Annotated[
        list[int] | None,
        Option(
            "-b", "--blocks", help="Blocks to try, counted from 0: -b 5 6 7.", show_default="all"
        ),
    ] = None
    metric: Annotated[
        str, Option(help="Metric: AUC, OSCR or accuracy.", show_default="AUC; fuse: OSCR")
    ] = ""
    protocol: Annotated[
        str, Option(help="clean, or paper (the reference implementation's, optimistic).")
    ] = "clean"


@dataclass(frozen=True)
class ControlOptions:
    """Checks that a result is not an artifact."""

    panel: ClassVar = "Controls"

    no_shortcut_check: Annotated[
        bool,
        Option(
            "--no-shortcut-check", help="Do not test whether file properties predict the origin."
        ),
    ] = False
    shuffles: Annotated[int, Option(min=0, help="Control fits on shuffled labels; 0: none.")] = 5


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training command, apart from its head."""

    config: Annotated[
        str,
        Option(
            "-c",
            "--config",
            is_eager=True,
            callback=load_config,
            help='TOML file of option values, e.g. backbone = "traces".',
        ),
    ] = "base"
    data: Annotated[
        str,
        Option(
            "-d",
            "--data",
            help="Folder with one subfolder per origin, or GenImage:split=split1…5, "
            "OSMA:split=split1…5, DiffusionForensics, NAME from `dataset split`; append "
            ":root=FOLDER if not in ./dataset.",
        ),
    ] = "GenImage:split=split1"
    output_dir: Annotated[
        Path | None,
        Option(
            "-o",
            "--output-dir",
            help="Results folder; a run is in its BACKBONE/DATA.",
            show_default="output/METHOD",
        ),
    ] = None
    encoder: EncoderOptions = EncoderOptions()  # noqa: RUF009 (frozen, like the groups below)
    split: SplitFlags = SplitFlags()  # noqa: RUF009
    families: Annotated[
        str,
        Option(
            help="TSV file of origin and family, added to the built-in table.",
            rich_help_panel=SplitFlags.panel,
        ),
    ] = ""
    samples_per_class: Annotated[
        int, Option(min=0, help="Most images per class; 0: all.", rich_help_panel=SplitFlags.panel)
    ] = SAMPLES_PER_CLASS
    selection: SelectionFlags = SelectionFlags()
    tpr: Annotated[float, Option(help="Share of known validation images the threshold keeps.")] = (
        TPR
    )
    augment: Annotated[
        str, Option(help="Perturbed training copies: jpeg,blur,crop,resize,social or all.")
    ] = ""
    cache_dir: CacheDir = CACHE_DIR
    jobs: Annotated[int, Option(min=-1, help="Processes that fit heads; -1: one per core.")] = -1
    force: Force = False
    controls: ControlOptions = ControlOptions()
    no_thumbnails: Annotated[
        bool, Option("--no-thumbnails", help="Store no thumbnails of images in the model.")
    ] = False

    @property
    def seed(self) -> int:
        """The seed of splits, folds and controls."""
        return self.split.seed

    def with_traces(self) -> TrainOptions:
        """Return these options with residual statistics (``traces``) added to the backbone."""
        from whichgen.encoders.names import TRACES, split_members

        backbone = self.encoder.backbone
        if TRACES in split_members(backbone):
            return self
        return replace(self, encoder=replace(self.encoder, backbone=f"{backbone}+{TRACES}"))

    def fit_options(self, method: SweepMethod) -> FitOptions:
        """Return the options of :func:`whichgen.training.fit_block.fit`."""
        from whichgen.training.fit_block import FitOptions

        blocks = tuple(self.selection.blocks or ())
        return FitOptions(head_method=method, blocks=blocks, **self._fit_settings())

    def fusion_options(self, C: float | None = None, scores: str = "") -> FusionOptions:
        """Return the options of :func:`whichgen.training.fit_fusion.fuse`.

        Parameters
        ----------
        C, scores
            One value of C, and names of scores to choose from; all if omitted.
        """
        from whichgen.training.fit_fusion import FusionOptions

        if self.selection.blocks:
            raise DataError("fusion uses all blocks. Omit --blocks, or use `whichgen linear`.")
        settings = self._fit_settings()
        if C is not None:
            settings["values"] = (C,)
        if scores:
            settings["scores"] = split_names(scores)
        return FusionOptions(**settings)

    def _fit_settings(self) -> dict[str, Any]:
        metric = self.selection.metric
        return {
            "protocol": self.selection.protocol,
            "tpr": self.tpr,
            "seed": self.seed,
            "jobs": self.jobs or -1,
            "thumbnails": not self.no_thumbnails,
            **({"metric": metric} if metric else {}),
        }

    def dataset_options(self) -> DatasetOptions:
        """Return the library's options for the dataset."""
        return self.split.dataset_options(
            self.data, families=self.families, samples_per_class=self.samples_per_class
        )

    def run_config(self, options: FitOptions | FusionOptions) -> dict[str, Any]:
        """Return the settings that a run records, as JSON values."""
        head = getattr(options, "head_method", options)
        return {
            **self.dataset_options().as_config(),
            "backbone": self.encoder.name,
            "dtype": self.encoder.dtype,
            "head": asdict(head),
            "blocks": list(self.selection.blocks or ()),
            "metric": options.metric,
            "protocol": options.protocol,
            "tpr": options.tpr,
            "augment": list(parse_kinds(self.augment)),
        }

    def open_dataset(self) -> Dataset:
        """Open the dataset and print its notes."""
        dataset = self.dataset_options().open(self.cache_dir, progress=progress)
        for note in dataset.notes:
            say(f"note: {note}")
        return dataset

    def run_folder(self, method: str, dataset: Dataset) -> Path:
        """Return the folder of a run, ``OUTPUT_DIR/BACKBONE/DATASET``."""
        from whichgen.encoders.names import split_members, split_variants

        def folder_name(member: str) -> str:
            name, variants = split_variants(member)
            return "_".join([Path(name).name if Path(name).is_dir() else name, *variants])

        backbone = "+".join(map(folder_name, split_members(self.encoder.name)))
        data = dataset.name.replace(":split=", "_").replace(":", "_")
        return (self.output_dir or Path("output") / method) / backbone / data

    def claim_folder(self, folder: Path, config: dict[str, Any]) -> None:
        """Create the folder of a run, before the work and again before results are written.

        Raises
        ------
        DataError
            It can't be written, it holds a run with other settings, or ``SOURCE_DATE_EPOCH`` is
            not a time.
        """
        check_writable(folder).mkdir(parents=True, exist_ok=True)
        get_timestamp()
        file = folder / "results.json"
        if self.force or not file.is_file():
            return
        try:
            previous = json.loads(file.read_text(encoding="utf-8"))["run_metadata"]["config"]
        except (ValueError, KeyError, TypeError):
            return
        current = json.loads(json.dumps(config))
        if changed := [key for key, value in current.items() if previous.get(key) != value]:
            raise DataError(
                f"{folder} holds a run with other settings ({', '.join(changed)}). Choose another "
                "--output-dir, or overwrite it with --force."
            )

    def extract_features(
        self,
        dataset: Dataset,
        options: FitOptions | None = None,
        augmented_splits: Sequence[str] = ("train",),
    ) -> tuple[Encoder, SplitFeatures]:
        """Load the encoder and extract the features that the cache lacks.

        Parameters
        ----------
        options
            Options whose blocks are checked before the extraction.
        augmented_splits
            Splits that get perturbed copies.
        """
        from whichgen.encoders.loading import load_encoder
        from whichgen.training.split_features import extract_splits

        name, device, dtype = self.encoder.name, self.encoder.device, self.encoder.dtype
        encoder = load_encoder(name, device=device, dtype=dtype)
        if options:
            options.blocks_of(encoder)
        features = extract_splits(
            dataset,
            encoder,
            open_store(self.cache_dir, encoder),
            augment=parse_kinds(self.augment),
            augmented_splits=augmented_splits,
            seed=self.seed,
            batch_size=self.encoder.batch_size,
            progress=progress,
        )
        warn_skipped(features.skipped)
        return encoder, features
