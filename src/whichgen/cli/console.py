"""What the command line says: tables on standard output, progress and errors on standard error."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from whichgen.errors import DataError, WhichgenError

out = Console()
err = Console(stderr=True)

#: The exit status of a program that Ctrl-C stopped.
_INTERRUPTED = 130

# Control characters but tab and line feed, and those that turn the direction of writing round.
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def progress(
    items: Iterable[Any], *, description: str = "", total: int | None = None
) -> Iterator[Any]:
    """Yields the items and shows a progress bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as bar:
        yield from bar.track(items, total=total, description=description)


def show_table(rows: Sequence[Any], *, title: str = "", whole: Sequence[str] = ()) -> None:
    """Prints dictionaries as a table whose columns are the first one's keys.

    Columns named in ``whole`` (left out: the first one) are never broken; the others fold.
    """
    if not rows:
        return
    whole = whole or tuple(rows[0])[:1]
    table = Table(title=_harmless(title) or None, title_justify="left")
    for i, column in enumerate(rows[0]):
        table.add_column(
            _harmless(str(column)),
            justify="right" if i else "left",
            no_wrap=column in whole,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(_harmless(str(row.get(column, ""))) for column in rows[0]))
    out.print(table)


def _harmless(text: str) -> str:
    """Text as rich prints it, in which no name of a file steers the terminal."""
    return escape(_STEERING.sub(lambda found: ascii(found[0])[1:-1], text))


def say(text: str) -> None:
    """One line of information on standard error."""
    err.print(_harmless(text), highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """One line that must be seen."""
    err.print(f"[bold yellow]{_harmless(text)}[/]", highlight=False, soft_wrap=True)


def fail(text: str) -> None:
    """One error message."""
    err.print(f"[bold red]error:[/] {_harmless(text)}", highlight=False, soft_wrap=True)


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Imports that an extra of the package brings; one message where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise DataError(
            f"{error.name} is not installed: pip install 'whichgen[{extra}]' brings it."
        ) from None


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose expected errors end in one message and a non-zero exit status."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except WhichgenError as error:
            fail(str(error))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            fail(
                f"{where}{error.strerror or error}. What was computed before is kept: mend this "
                "(free disk space, write permission) and run the same command again."
            )
        except KeyboardInterrupt:
            err.print()
            fail(
                "stopped. Features and sweeps that were finished are kept: the same command goes "
                "on from there."
            )
            raise typer.Exit(_INTERRUPTED) from None
        raise typer.Exit(1) from None

    return run
