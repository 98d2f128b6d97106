"""Entry point of the ``whichgen`` command.

A command imports only what it needs, because imports take most of the time of a short command.
"""

from __future__ import annotations

import functools
import io
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from whichgen.cli.command import call_command
from whichgen.cli.console import warn
from whichgen.data.images.formats import IMAGE_SUFFIXES, PARQUET, TAR
from whichgen.errors import WhichgenWarning


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
    """Print log messages on the data and the encoder as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(f"note: {record.getMessage()}")


def main() -> None:
    """Run the ``whichgen`` command with the arguments of this process.

    Characters that the terminal does not support are escaped in all output.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # File names may be invalid Unicode, and a terminal may not support all characters.
            stream.reconfigure(errors="backslashreplace")
    # Pillow's warning is redundant: whichgen has its own limit on the number of pixels.
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")
    # So are its warnings about damaged metadata, which the evidence reports in notes.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
    for package in ("data", "encoders"):
        logger = logging.getLogger(f"whichgen.{package}")
        logger.addHandler(_NoteHandler())
        logger.setLevel(logging.INFO)
    arguments = expand_blocks(protect_names(sys.argv[1:]))
    if is_simple_evidence(arguments):
        from whichgen.cli.evidence_output import show_evidence_of_files

        images = [Path(argument) for argument in arguments[1:] if argument != "--json"]
        call_command(lambda: show_evidence_of_files(images, as_json="--json" in arguments))
    else:
        from whichgen.cli.commands import build_app

        build_app(arguments)(args=arguments)


def is_simple_evidence(arguments: Sequence[str]) -> bool:
    """Return whether the arguments are ``evidence``, images and at most the option ``--json``.

    These need no parser, and importing the parser takes longer than inspecting an image.
    """
    command, *values = arguments or [""]
    images = [value for value in values if value != "--json"]
    return command == "evidence" and bool(images) and not any(i.startswith("-") for i in images)
