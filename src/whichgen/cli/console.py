"""Terminal output: tables and JSON on standard output, messages and progress on standard error."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from whichgen.errors import DataError
from whichgen.io.file_names import escape_name, escape_names

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Minimum width of a column of shortened paths, in characters.
_MIN_PATH = 16

#: Maximum width, in characters, of a column that is not wrapped (see :func:`_build_table`).
_MAX_NAME = 24

# Control characters except tab and line feed, and characters that change the writing direction.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

#: Content of a right-aligned cell: a number, mean ± deviation, an interval or a dash; may be empty.
_NUMBER = re.compile(r"[\d\s.,%+±–−-]*")


@cache
def get_console(*, stderr: bool = False) -> Console:
    """Return the console of standard output or standard error."""
    from rich.console import Console  # takes time to import

    return Console(stderr=stderr)


def show_progress(
    items: Iterable[Any], *, description: str = "", total: int | None = None
) -> Iterator[Any]:
    """Yield the items and show a progress bar on standard error.

    The bar remains visible after the last item, but is removed on an error.

    Parameters
    ----------
    items
        The items.
    description
        Text before the bar.
    total
        Number of items; ``None`` if unknown. There is no bar if it is 1.
    """
    if total == 1:
        yield from items
        return
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=get_console(stderr=True), transient=True) as bar:
        yield from bar.track(items, total=total, description=description)
        bar.live.transient = False


def show_table(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str = "",
    caption: str = "",
    paths: Sequence[str] = (),
    wide: bool = False,
) -> None:
    """Print rows as a table that fits the terminal; print nothing if there are no rows.

    Parameters
    ----------
    rows
        ``rows[i][column]`` is a cell. The first row defines the columns.
    title, caption
        Text above and below the table.
    paths
        Columns that contain paths. If the table is too wide, the common parent folder of the paths
        in a column is moved to the caption, and paths that are still too long are shortened
        (:func:`shorten_path`).
    wide
        Print the table at its full width, without shortening, even if it does not fit the terminal.
    """
    if not rows:
        return
    from rich.cells import cell_len
    from rich.console import Console
    from rich.markup import escape
    from rich.measure import Measurement

    console = get_console()
    if title:
        console.print(f"[bold]{escape(_sanitize(title))}[/]", highlight=False, soft_wrap=True)
    cells = {name: [_sanitize(str(row.get(name, ""))) for row in rows] for name in rows[0]}
    for name in paths:
        cells[name] = list(map(escape_path, cells[name]))
    table = _build_table(cells)
    width = Measurement.get(console, console.options.update(width=100_000), table).maximum
    excess = width - console.width
    if excess > 0 and not wide:
        total = sum(max(map(cell_len, cells[name])) for name in paths)
        path_width = max((total - excess) // max(len(paths), 1), _MIN_PATH)
        for name in paths:
            prefix = os.path.commonprefix([c for c in cells[name] if c])  # noqa: RUF071 (cut below)
            if parent := prefix.rpartition("/")[0]:
                cells[name] = [cell[len(parent) + 1 :] for cell in cells[name]]
                caption = f"{name} paths are relative to {parent}\n{caption}".rstrip()
            cells[name] = [shorten_path(cell, path_width) for cell in cells[name]]
        table = _build_table(cells, narrow=True)
    table_console = Console(file=console.file, width=max(width, console.width)) if wide else console
    table_console.print(table)
    if caption:
        console.print(f"[dim]{escape(_sanitize(caption))}[/]", highlight=False, soft_wrap=True)


def _build_table(cells: Mapping[str, Sequence[str]], *, narrow: bool = False) -> Table:
    """Build a table from the cells of each column; columns of numbers are right-aligned.

    If ``narrow``, long cells are wrapped. A column of at most 24 characters is not wrapped if it
    contains only numbers, or if its texts contain no spaces or have their own line breaks.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.markup import escape
    from rich.table import Table

    padding = (0, 1, 0, 0 if narrow else 1)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=padding)
    for name, column in cells.items():
        is_numeric = all(_NUMBER.fullmatch(cell) for cell in column)
        title = _sanitize(name)
        width = max(map(cell_len, [*title.split(), *"\n".join(column).split("\n")]))
        has_long_texts = not is_numeric and any(" " in c and "\n" not in c for c in column)
        is_fixed = narrow and width <= _MAX_NAME and not has_long_texts
        table.add_column(
            escape(title),
            justify="right" if is_numeric else "left",
            overflow="fold",
            width=width if is_fixed else None,
        )
    for row in zip(*cells.values(), strict=True):
        table.add_row(*map(escape, row))
    return table


def shorten_path(path: str, width: int) -> str:
    """Shorten a path to at most ``width`` characters by replacing a part of it with ``…``.

    If the file name fits, the end of the folder is replaced. Otherwise, the folder is omitted and
    the middle of the name is replaced.
    """
    from rich.cells import cell_len

    if cell_len(path) <= width:
        return path
    folder, _, name = path.rpartition("/")
    if len(name) <= width - 2:
        return f"{folder[: width - 2 - len(name)]}…/{name}"
    tail = (width - 1) // 2
    return f"{name[: width - 1 - tail]}…{name[-tail:]}"


def escape_path(path: str) -> str:
    """Escape tabs and line feeds in a path."""
    return path.replace("\t", "\\t").replace("\n", "\\n")


def show_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    sys.stdout.write(json.dumps(escape_names(value), indent=1, ensure_ascii=False) + "\n")


def _sanitize(text: str) -> str:
    """Escape lone surrogates, and control and writing-direction characters (``_CONTROL``)."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], escape_name(text))


def say(text: str) -> None:
    """Print an informational message on standard error."""
    print(_sanitize(text), file=sys.stderr)


def warn(text: str) -> None:
    """Print a warning on standard error."""
    _print_styled(f"[bold yellow]{_escape_markup(text)}[/]")


def _escape_markup(text: str) -> str:
    from rich.markup import escape

    return escape(_sanitize(text))


def _print_styled(markup: str) -> None:
    get_console(stderr=True).print(markup, highlight=False, soft_wrap=True)


def show_error(text: str) -> None:
    """Print an error message on standard error."""
    _print_styled(f"[bold red]error:[/] {_escape_markup(text)}")


def warn_skipped(reasons: Sequence[str]) -> None:
    """Warn that unreadable files were skipped; do nothing if there are none.

    ``reasons`` are the error messages, one per file; the warning contains only the first.
    """
    if reasons:
        warn(
            f"Unreadable files skipped: {len(reasons)}. Replace or remove them. First error: "
            f"{reasons[0]}"
        )


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """Convert a ModuleNotFoundError raised in the ``with`` block to a :class:`DataError`.

    Parameters
    ----------
    extra
        Name of the optional dependencies, such as ``serve`` for ``whichgen[serve]``. The message
        says how to install them.

    Raises
    ------
    DataError
        A module is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise DataError(
            f"{error.name} is not installed. Install it with: pip install 'whichgen[{extra}]'"
        ) from None
