"""Exit with an error message."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from whichgen.cli.console import show_error
from whichgen.plurals import format_count

#: Maximum number of unreadable files listed in an error message.
_MAX_REASONS = 20


def fail(text: str, status: int = 1) -> NoReturn:
    """Print an error message on standard error, and exit with status ``status``."""
    show_error(text)
    raise SystemExit(status)


def exit_on_unreadable(reasons: Sequence[str], total: int, noun: str = "image") -> None:
    """If there are unreadable files, print up to 20 error messages and exit with status 1.

    Parameters
    ----------
    reasons
        One error message per unreadable file.
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
        pronoun = "it" if len(reasons) == 1 else "them"
        fail(
            f"{len(reasons):,} of {format_count(total, noun)} can't be read. Replace or remove "
            f"{pronoun}:\n{lines}"
        )


def exit_if_all_missing(files: Sequence[Path]) -> None:
    """Exit with status 1 if none of the image files exists.

    Call this function before loading an encoder, which takes seconds or, on first use, minutes. If
    at least one file exists, the missing files are reported with the results instead.
    """
    if not any(file.exists() for file in files):
        exit_on_unreadable([f"{file}: no such file" for file in files], len(files))
