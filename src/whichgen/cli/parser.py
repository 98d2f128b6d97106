"""Command-line parser of ``whichgen``: all commands, or only the one that runs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from whichgen.cli.training_options import normalize_name
from whichgen.deterministic import enable_deterministic_mode
from whichgen.version import __version__

#: Commands per panel of `whichgen --help`, and the modules of this package that define them.
_PANELS = {
    "Train": {"linear": "train", "knn": "train", "fuse": "train"},
    "Use": {
        "attribute": "attribute",
        "attribute-bulk": "attribute_bulk",
        "serve": "serve",
        "evidence": "evidence",
    },
    "Investigate": {"discover": "discover", "enroll": "enroll", "gallery": "gallery"},
    "Evaluate": {
        "evaluate": "evaluate",
        "cross-source": "cross_source",
        "compare": "compare",
        "robustness": "robustness",
        "low-data": "low_data",
        "few-shot": "few_shot",
        "report": "report",
    },
    "Data": {"dataset": "dataset", "extract": "extract"},
    "Models": {"verify": "verify"},
}

#: Names that stand for a group of commands, such as ``dataset check`` and ``dataset split``.
_GROUPS = ("dataset", "gallery")


def build_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """Build the command-line parser.

    If the first of ``arguments`` that is not an option is a command, the parser has only this
    command, and only the module of this command is imported.
    """
    app = typer.Typer(
        help="Which generative model made this image? Open-set origin attribution.",
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,
        context_settings={"token_normalize_func": normalize_name},
    )
    app.callback(invoke_without_command=True)(start)
    command_name = normalize_name(next((a for a in arguments if not a.startswith("-")), ""))
    is_command = any(command_name in modules for modules in _PANELS.values())
    for panel, modules in _PANELS.items():
        for name, module in modules.items():
            if is_command and name != command_name:
                continue
            command_module = import_module(f"whichgen.cli.{module}")
            if name in _GROUPS:
                app.add_typer(command_module.app, name=name, rich_help_panel=panel)
            else:
                app.command(rich_help_panel=panel)(getattr(command_module, name.replace("-", "_")))
    return app


def start(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            envvar="WHICHGEN_DETERMINISTIC",
            help="Same output for any number of cores (one thread, CPU only).",
        ),
    ] = False,
) -> None:
    """Process the options that precede the command: version and deterministic mode."""
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if deterministic:
        enable_deterministic_mode()
