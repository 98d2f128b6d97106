"""Read lists of image paths from files; an argument ``@FILE`` denotes the paths in ``FILE``."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from whichgen.errors import DataError, WhichgenWarning
from whichgen.io.text_tables import PATH_COLUMNS, Row, normalize_header, parse_lines, parse_rows
from whichgen.io.untrusted_files import read_text_file

#: Maximum number of lines whose paths are looked up to find the column of paths.
_PROBED_PATHS = 20


def get_list_file(argument: str) -> Path | None:
    """Return the path of the list of an argument ``@FILE``, or ``None`` for any other argument.

    If there is a file or folder named ``@user.jpg``, the argument ``@user.jpg`` denotes it, not a
    list. The argument ``@./user.jpg`` denotes the list ``user.jpg``.

    Parameters
    ----------
    argument
        Argument of a command: a path, a URL or ``@FILE``.

    Warns
    -----
    WhichgenWarning
        The argument begins with ``@`` but is the path of a file or folder.
    """
    if not argument.startswith("@"):
        return None
    if os.path.lexists(argument):
        warnings.warn(
            f"{argument} is not read as a list, because a file or folder of this name exists. "
            f"For the list {argument[1:]}, use @./{argument[1:]}.",
            WhichgenWarning,
            stacklevel=1,
        )
        return None
    return Path(argument[1:])


def read_path_list(file: Path) -> list[str]:
    """Read a list of paths: a text file with one path per line, or a table.

    In a table (:mod:`whichgen.io.text_tables`), the paths are in the column with a name such as
    ``path``, or else in the first column with a path that exists. A file without such a column name
    is a table only if none of its first 20 lines is itself an existing path or a URL. Lines without
    a path are skipped, and so are lines that begin with ``#`` but not with an existing path.

    Parameters
    ----------
    file
        The list.

    Returns
    -------
    list of str
        The paths and URLs. If a local path does not exist, it is also looked up relative to the
        folder of the list, without surrounding blanks, and with slashes instead of backslashes. If
        no such file exists, the path is returned as in the list, without surrounding blanks.

    Raises
    ------
    DataError
        The file is missing or unreadable, or contains no path.

    Warns
    -----
    WhichgenWarning
        The list is a table, and its other columns are ignored.
    """
    try:
        text = read_text_file(file, "path list", has_file_names=True)
    except DataError as error:
        raise DataError(f"{error} An argument that begins with @ is a list of paths.") from None
    lines = [
        line
        for line in parse_lines(text)
        if not line.lstrip().startswith("#") or _resolve(line, file.parent)
    ]
    rows = [
        row
        for row in parse_rows(text, prefers_comma=file.suffix.lower() == ".csv")
        if not row.is_comment or _resolve(row.cells[0], file.parent)
    ]
    entries = [entry for entry in _find_paths(file, lines, rows) if entry.strip()]
    if not entries:
        raise DataError(f"path list {file} contains no paths. Write one path per line.")
    return [_resolve(entry, file.parent) or entry.strip() for entry in entries]


def _find_paths(file: Path, lines: Sequence[str], rows: Sequence[Row]) -> Sequence[str]:
    """Return the cells of the column of paths, or all lines if there is no such column.

    A header is skipped. The cells and lines are returned as in the file, and may be empty.
    """
    names = [normalize_header(cell) for cell in rows[0].cells] if rows else []
    column = next((names.index(name) for name in PATH_COLUMNS if name in names), None)
    if column is not None and lines and not _resolve(lines[0], file.parent):
        if len(names) == 1:
            return lines[1:]
        _report_column(file, f"`{rows[0].cells[column].strip()}`")
        return [row.get_cell(column) for row in rows[1:]]
    probed_lines = lines[:_PROBED_PATHS]
    if len(names) > 1 and not any(_resolve(line, file.parent) for line in probed_lines):
        for i in range(len(names)):
            if any(_resolve(row.get_cell(i), file.parent) for row in rows[:_PROBED_PATHS]):
                _report_column(file, str(i + 1))
                return [row.get_cell(i) for row in rows]
    return lines


def _report_column(file: Path, column: str) -> None:
    message = f"path list {file}: paths are in column {column}; other columns are ignored."
    warnings.warn(message, WhichgenWarning, stacklevel=1)


def _resolve(entry: str, folder: Path) -> str | None:
    """Return the path or URL of an entry, or ``None`` if the file does not exist."""
    if re.match(r"\w+://", entry.strip()):
        return entry.strip()
    return next((path for path in _spell(entry, folder) if os.path.lexists(path)), None)


def _spell(entry: str, folder: Path) -> Iterator[str]:
    """Yield the possible local paths of an entry, in order of preference."""
    for path in dict.fromkeys((entry, entry.strip(), entry.strip().replace("\\", "/"))):
        if path.strip() and "\0" not in path:
            yield path
            yield str(folder / path)
