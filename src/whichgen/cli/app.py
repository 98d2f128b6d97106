"""Entry point of the ``whichgen`` command.

Each command imports only the modules that it needs, because imports dominate the time of short
commands.
"""

from __future__ import annotations

import functools
import io
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from whichgen.cli.command import call_command
from whichgen.cli.console import warn
from whichgen.cli.error_exits import fail
from whichgen.data.images.formats import IMAGE_SUFFIXES, PARQUET, TAR
from whichgen.errors import WhichgenWarning

#: Options for a model or dataset, whose value can't be empty.
_PATH_OPTIONS = ("-m", "--model", "-d", "--data")


def exit_on_empty_path(arguments: Sequence[str]) -> None:
    """Exit with status 2 if a path is empty, for example because a shell variable is not set.

    ``Path("")`` would be the working folder. This function checks arguments that do not follow an
    option, and the values of options for models and datasets. It does not check the first argument,
    the command.

    Raises
    ------
    SystemExit
        A path is empty.
    """
    for previous, argument in pairwise(arguments):
        if not argument and (not previous.startswith("-") or previous in _PATH_OPTIONS):
            name = previous or repr(previous)
            fail(f"the argument after {name} is empty. Specify a path or name.", 2)


def expand_blocks(arguments: Sequence[str]) -> list[str]:
    """Expand ``-b 5 6 7`` in arguments to ``-b 5 -b 6 -b 7``, and ``--blocks`` in the same way.

    Users of the reference implementation write the first form; Typer can parse only the second.
    """
    expanded_arguments: list[str] = []
    option = ""
    for argument in arguments:
        if option and argument.isdecimal() and expanded_arguments[-1] != option:
            expanded_arguments += [option, argument]
            continue
        if argument in ("-b", "--blocks"):
            option = argument
        elif not argument.isdecimal():
            option = ""
        expanded_arguments.append(argument)
    return expanded_arguments


def prepend_dot_slash(arguments: Sequence[str]) -> list[str]:
    """Prepend ``./`` to arguments that begin with a hyphen but are paths of input files or folders.

    Input files are images, ``.tar`` and ``.parquet`` files. Only existing files and folders are
    recognized. Without the prefix, Typer would parse their paths as options.
    """
    return [
        f"./{argument}" if argument.startswith("-") and _is_input_path(Path(argument)) else argument
        for argument in arguments
    ]


def _is_input_path(path: Path) -> bool:
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
    """Print log messages of the packages ``data`` and ``encoders`` as notes."""

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
    # Pillow's warnings about damaged metadata are redundant: the evidence has notes on the damage.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
    for package in ("data", "encoders"):
        logger = logging.getLogger(f"whichgen.{package}")
        logger.addHandler(_NoteHandler())
        logger.setLevel(logging.INFO)
    arguments = expand_blocks(prepend_dot_slash(sys.argv[1:]))
    exit_on_empty_path(arguments)
    if is_simple_evidence(arguments):
        from whichgen.cli.evidence_output import show_evidence_of_files

        images = [Path(argument) for argument in arguments[1:] if argument != "--json"]
        call_command(lambda: show_evidence_of_files(images, as_json="--json" in arguments))
    else:
        call_command(lambda: _run_parser(arguments))


def _run_parser(arguments: list[str]) -> None:
    """Parse the arguments, and run the command."""
    from whichgen.cli.parser import build_app

    build_app(arguments)(args=arguments)


def is_simple_evidence(arguments: Sequence[str]) -> bool:
    """Return whether the command is ``evidence`` with paths and no option except ``--json``.

    Any other argument that begins with a hyphen, including ``-``, counts as an option. If the
    result is ``True``, :func:`main` does not import the command-line parser, because that takes
    longer than inspecting an image.
    """
    command, *values = arguments or [""]
    images = [value for value in values if value != "--json"]
    return command == "evidence" and bool(images) and not any(i.startswith("-") for i in images)
