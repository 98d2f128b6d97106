"""Options of every command that trains a model."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer
from typer import Option

from whichgen.cli.options import (
    CACHE_DIR,
    CacheDir,
    EncoderOptions,
    Force,
    OutputDir,
    SplitFlags,
    join,
)
from whichgen.constants import SAMPLES_PER_CLASS, TPR

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
    defaults = {
        normalize_name(key).replace("-", "_"): (
            join(setting) if isinstance(setting, list) and key != "blocks" else setting
        )
        for key, setting in settings.items()
    }
    allowed = {str(parameter.name) for parameter in context.command.params}
    if unknown := sorted(defaults.keys() - allowed):
        raise typer.BadParameter(
            f"{value}: unknown option {', '.join(unknown)}. "
            f"Choose from {', '.join(sorted(allowed))}."
        )
    context.default_map = defaults
    return value


@dataclass(frozen=True)
class TrainingSplit(SplitFlags):
    """How the training dataset is split, limited and grouped into families."""

    families: Annotated[str, Option(help="TSV file of additional origins and families.")] = ""
    samples_per_class: Annotated[int, Option(min=0, help="Most images per class; 0: all.")] = (
        SAMPLES_PER_CLASS
    )


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
        bool, Option("--no-shortcut-check", help="Skip the check of file properties.")
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
        OutputDir(
            help="Results folder; each run is in BACKBONE/DATA.", show_default="output/METHOD"
        ),
    ] = None
    encoder: EncoderOptions = EncoderOptions()  # noqa: RUF009 (frozen, like the groups below)
    split: TrainingSplit = TrainingSplit()
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
