"""Options of ``linear``, ``knn``, ``fuse``, ``low-data`` and ``cross-source``; config files."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer
from typer import Option

from whichgen.cli.shared_options import (
    CacheDir,
    EncoderOptions,
    Force,
    OutputDir,
    SplitFlags,
    join_values,
)
from whichgen.defaults import CACHE_DIR, SAMPLES_PER_CLASS, TPR

#: Maps alternative names of options and commands to the current names, without leading dashes: the
#: option names of the reference implementation (UniversalAttribution), with hyphens instead of
#: underscores, and command names without hyphens.
ALIASES = {
    "c-step": "c-values",
    "k-step": "k-values",
    "config-name": "config",
    "max-train-iters": "max-iter",
    "lowdata": "low-data",
    "fewshot": "few-shot",
}


def normalize_name(name: str) -> str:
    """Return the current name of an option or command, e.g. ``c-values`` for ``c_step``."""
    hyphenated_name = name.replace("_", "-")
    return ALIASES.get(hyphenated_name, hyphenated_name)


def load_config(context: typer.Context, value: str) -> str:
    """Set the option defaults of a command from the TOML file ``value``, and return ``value``.

    If ``value`` is ``base`` or empty, the built-in defaults are kept.

    Raises
    ------
    typer.BadParameter
        The file can't be read as TOML, or it contains an unknown option.
    """
    if value in ("", "base"):
        return value
    try:
        settings = tomllib.loads(Path(value).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise typer.BadParameter(
            f"{value} can't be read as TOML ({error}). Specify a file of lines such as "
            'backbone = "efficientnet_lite0", or omit --config.'
        ) from None
    defaults = {
        normalize_name(key).replace("-", "_"): (
            join_values(setting) if isinstance(setting, list) and key != "blocks" else setting
        )
        for key, setting in settings.items()
    }
    option_names = {str(parameter.name) for parameter in context.command.params}
    if unknown := sorted(defaults.keys() - option_names):
        raise typer.BadParameter(
            f"{value}: unknown option {', '.join(unknown)}. "
            f"Choose from {', '.join(sorted(option_names))}."
        )
    context.default_map = defaults
    return value


@dataclass(frozen=True)
class TrainingSplit(SplitFlags):
    """Options for the splits, size and generator families of the training dataset."""

    families: Annotated[
        str, Option(help="File of generator families: lines ORIGIN<TAB>FAMILY.")
    ] = ""
    samples_per_class: Annotated[
        int, Option(min=0, help="Maximum number of images per class in each split; 0: all.")
    ] = SAMPLES_PER_CLASS


@dataclass(frozen=True)
class SelectionFlags:
    """Options for selecting the block and the hyperparameters."""

    panel: ClassVar = "Model selection"

    blocks: Annotated[
        list[int] | None,
        Option(
            "-b",
            "--blocks",
            help="Candidate blocks, counted from 0 (repeatable), e.g. -b 5 6 7.",
            show_default="all",
        ),
    ] = None
    metric: Annotated[
        str, Option(help="Selection metric: AUC, OSCR or accuracy.", show_default="AUC; fuse: OSCR")
    ] = ""
    protocol: Annotated[
        str, Option(help="Evaluation protocol: clean, or paper (biased, for comparison).")
    ] = "clean"


@dataclass(frozen=True)
class ControlOptions:
    """Options for the control experiments: shortcut check and shuffled labels."""

    panel: ClassVar = "Controls"

    no_shortcut_check: Annotated[
        bool, Option("--no-shortcut-check", help="Skip the shortcut check.")
    ] = False
    shuffles: Annotated[int, Option(min=0, help="Number of fits on shuffled labels; 0: none.")] = 5


@dataclass(frozen=True)
class TrainOptions:
    """Options shared by ``linear``, ``knn``, ``fuse``, ``low-data`` and ``cross-source``."""

    config: Annotated[
        str,
        Option(
            "-c",
            "--config",
            is_eager=True,
            callback=load_config,
            show_default="built-in defaults",
            help='TOML file of option values, e.g. backbone = "traces".',
        ),
    ] = "base"
    data: Annotated[
        str,
        Option(
            "-d",
            "--data",
            help="Folder with one subfolder per origin, or NAME:split=SPLIT:root=FOLDER.",
        ),
    ] = "GenImage:split=split1"
    output_dir: Annotated[
        Path | None,
        OutputDir(
            help="Output folder; run folders are BACKBONE/DATA in it.", show_default="output/METHOD"
        ),
    ] = None
    encoder: EncoderOptions = EncoderOptions()  # noqa: RUF009 (frozen, like the groups below)
    split: TrainingSplit = TrainingSplit()
    selection: SelectionFlags = SelectionFlags()
    tpr: Annotated[float, Option(help="Minimum fraction of known validation images to accept.")] = (
        TPR
    )
    augment: Annotated[
        str, Option(help="Add perturbed copies for training: jpeg,blur,crop,resize,social or all.")
    ] = ""
    cache_dir: CacheDir = CACHE_DIR
    jobs: Annotated[int, Option(min=-1, help="Number of fitting processes; -1: one per core.")] = -1
    force: Force = False
    controls: ControlOptions = ControlOptions()
    no_thumbnails: Annotated[
        bool,
        Option("--no-thumbnails", help="Do not store thumbnails of images in the model."),
    ] = False
