"""Entry point of the ``whichgen`` command."""

from __future__ import annotations

import functools
import io
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from whichgen.cli import dataset, gallery
from whichgen.cli.attribute import attribute
from whichgen.cli.attribute_bulk import attribute_bulk
from whichgen.cli.compare import compare
from whichgen.cli.console import warn
from whichgen.cli.cross_source import cross_source
from whichgen.cli.discover import discover
from whichgen.cli.enroll import enroll
from whichgen.cli.evidence import evidence
from whichgen.cli.experiments import evaluate, few_shot, low_data, robustness
from whichgen.cli.extract import extract
from whichgen.cli.report import report
from whichgen.cli.serve import serve
from whichgen.cli.train import fuse, knn, linear
from whichgen.cli.training_options import normalize_name
from whichgen.cli.verify import verify
from whichgen.data.images.formats import IMAGE_SUFFIXES, PARQUET, TAR
from whichgen.deterministic import enable_deterministic_mode
from whichgen.errors import WhichgenWarning
from whichgen.version import __version__

app = typer.Typer(
    help="Which generative model made this image? Open-set origin attribution.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"token_normalize_func": normalize_name},
)

#: Commands per panel of `whichgen --help`.
_PANELS: dict[str, tuple[Callable[..., None] | tuple[str, typer.Typer], ...]] = {
    "Train": (linear, knn, fuse),
    "Use": (attribute, attribute_bulk, serve, evidence),
    "Investigate": (discover, enroll, ("gallery", gallery.app)),
    "Evaluate": (evaluate, cross_source, compare, robustness, low_data, few_shot, report),
    "Data": (("dataset", dataset.app), extract),
    "Models": (verify,),
}
for panel, commands in _PANELS.items():
    for entry in commands:
        if isinstance(entry, tuple):
            app.add_typer(entry[1], name=entry[0], rich_help_panel=panel)
        else:
            app.command(rich_help_panel=panel)(entry)


@app.callback(invoke_without_command=True)
def start(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            envvar="WHICHGEN_DETERMINISTIC",
            help="Produce identical output on any machine (one thread, CPU only).",
        ),
    ] = False,
) -> None:
    """Process the options before the command: print the version, or enable deterministic mode.

    Characters that the terminal does not support are escaped in all output.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # File names may be invalid Unicode, and a terminal may not support all characters.
            stream.reconfigure(errors="backslashreplace")
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if deterministic:
        enable_deterministic_mode()


def expand_blocks(arguments: Sequence[str]) -> list[str]:
    """Expand ``-b 5 6 7`` to ``-b 5 -b 6 -b 7``, and ``--blocks`` in the same way.

    Users of the reference implementation write the first form; Typer can parse only the second.
    """
    expanded: list[str] = []
    option = ""
    for argument in arguments:
        if option and argument.isdecimal() and expanded[-1] != option:
            expanded += [option, argument]
            continue
        if argument in ("-b", "--blocks"):
            option = argument
        elif not argument.isdecimal():
            option = ""
        expanded.append(argument)
    return expanded


def protect_names(arguments: Sequence[str]) -> list[str]:
    """Write ``./-name`` for an image, archive or folder whose name begins with a hyphen.

    A shell expands ``*.jpg`` to such names, too; Typer would read them as options.
    """
    return [
        f"./{argument}" if argument.startswith("-") and _is_source(Path(argument)) else argument
        for argument in arguments
    ]


def _is_source(path: Path) -> bool:
    suffixes = {*IMAGE_SUFFIXES, TAR, PARQUET}
    try:
        return path.is_dir() or (path.suffix.lower() in suffixes and path.is_file())
    except OSError:  # an option with a value that is too long for a file name
        return False


def _show_warning(default: Callable[..., None], message: Warning | str, *details: Any) -> None:
    """Print whichgen warnings on one line; print other warnings in Python's default format."""
    if isinstance(message, WhichgenWarning):
        warn(f"note: {message}")
    else:
        default(message, *details)


class _NoteHandler(logging.Handler):
    """Print log messages on the data as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(f"note: {record.getMessage()}")


def main() -> None:
    """Run the ``whichgen`` command with the arguments of this process."""
    # Pillow's warning is redundant: whichgen has its own limit on the number of pixels.
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")
    # So are its warnings about damaged metadata, which the evidence reports in notes.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
    logger = logging.getLogger("whichgen.data")
    logger.addHandler(_NoteHandler())
    logger.setLevel(logging.INFO)
    app(args=expand_blocks(protect_names(sys.argv[1:])))
