"""Exit with an error message."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from whichgen.cli.console import show_error
from whichgen.phrases import format_count

#: Maximum number of unreadable files listed in an error message.
_MAX_REASONS = 20


def fail(text: str, status: int = 1) -> NoReturn:
    """Print an error message on standard error, and exit with status ``status``."""
    show_error(text)
    raise SystemExit(status)


def exit_on_unreadable(reasons: Sequence[str], total: int, noun: str = "image") -> None:
    """Exit with status 1 if there are unreadable files; the error message lists at most 20 of them.

    Parameters
    ----------
    reasons
        For each unreadable file, its path and why it can't be read.
    total
        Number of all files.
    noun
        What to call a file in the error message.

    Raises
    ------
    SystemExit
        A file is unreadable.
    """
    if reasons:
        lines = "\n".join(reasons[:_MAX_REASONS])
        if len(reasons) > _MAX_REASONS:
            lines += f"\n… and {len(reasons) - _MAX_REASONS:,} more"
        advice = (
            "Check the path, or replace or remove the file"
            if len(reasons) == 1
            else "Check the paths, or replace or remove the files"
        )
        fail(f"{len(reasons):,} of {format_count(total, noun)} can't be read. {advice}:\n{lines}")


def exit_if_all_missing(files: Sequence[Path]) -> None:
    """Exit with status 1 if none of the image files exists.

    Call this function before loading an encoder, which takes seconds or, on first use, minutes. If
    at least one file exists, the missing files are reported with the results instead.

    Raises
    ------
    SystemExit
        None of the files exists, and ``files`` is not empty.
    """
    if not any(file.exists() for file in files):
        exit_on_unreadable([f"{file}: no such file" for file in files], len(files))
