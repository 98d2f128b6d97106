"""Read TSV and CSV tables from spreadsheets, editors and scripts, and format TSV tables.

Columns are separated by tabs, semicolons or commas, or by the character that a first line such as
``sep=|`` specifies. Cells may be quoted. Lines end with LF, CRLF or CR, and rows in which all cells
are blank are skipped.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from whichgen.errors import DataError
from whichgen.io.untrusted_files import read_text_file

#: Normalized names (:func:`normalize_header`) of a column of paths, in order of preference.
PATH_COLUMNS = (
    *("path", "file", "filename", "file_name", "file_path", "filepath"),
    *("image", "image_path", "image_name", "img", "img_path", "name"),
)

_DELIMITERS = ("\t", ";", ",")

#: Delimiter for tables of one column: a control character that is very unlikely in file names.
_NO_DELIMITER = "\x1f"

#: First line of a CSV file that specifies the delimiter for Excel.
_DELIMITER_LINE = re.compile(r'sep=([^"\r\n])(?:\r\n|\r|\n)', re.IGNORECASE)

#: End of a line. ``str.splitlines`` is not used, because it also divides lines at other line
#: breaks, such as U+2028, which file names may contain.
_LINE_END = re.compile(r"\r\n|\r|\n")

#: Number of characters and rows that are examined to find the delimiter.
_SAMPLE_CHARACTERS, _SAMPLE_ROWS = 100_000, 50


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Parameters
    ----------
    line
        Number of the row's last line in the file, counted from 1.
    cells
        Cells, without trailing blank cells.
    delimiter
        Character that separates the columns of the table.
    """

    line: int
    cells: tuple[str, ...]
    delimiter: str

    def get_cell(self, index: int) -> str:
        """Return the cell at an index (from 0), or an empty string if the row has fewer cells."""
        return self.cells[index] if index < len(self.cells) else ""

    @property
    def is_comment(self) -> bool:
        """Whether the first cell of this row, which must not be empty, begins with ``#``.

        White space before the ``#`` is ignored.
        """
        return self.cells[0].lstrip().startswith("#")


def read_rows(file: Path, description: str, hint: str = "") -> list[Row]:
    """Read the nonempty rows of a table file, including comments and a header.

    Parameters
    ----------
    file
        The table, which may contain file names that are not UTF-8. If several delimiters are
        possible, commas are preferred in a ``.csv`` file, and tabs in any other file.
    description, hint
        Kind of file, and instruction if the file does not exist, for error messages
        (:func:`~whichgen.io.untrusted_files.read_text_file`).

    Raises
    ------
    DataError
        The file is missing, unreadable or too large, or not a text file.
    """
    text = read_text_file(file, description, hint, has_file_names=True)
    return parse_rows(text, prefers_comma=file.suffix.lower() == ".csv")


def parse_rows(text: str, *, prefers_comma: bool = False) -> list[Row]:
    """Parse the nonempty rows of a table, including comments and a header.

    Parameters
    ----------
    text
        Content of the table.
    prefers_comma
        Whether commas instead of tabs are preferred if several delimiters are possible.
    """
    delimiter_line = _DELIMITER_LINE.match(text)
    if delimiter_line:
        # Replace the line with an empty line, so that line numbers do not change.
        delimiter, text = delimiter_line[1], "\n" + text[delimiter_line.end() :]
    else:
        delimiter = _find_delimiter(text[:_SAMPLE_CHARACTERS], prefers_comma)
    return [row for row in _split_rows(text, delimiter) if row.cells]


def parse_lines(text: str) -> list[str]:
    """Return the lines of a text that are not blank.

    Quotes around lines are removed, unless a quote in the text is invalid.
    """
    return [row.cells[0] for row in _split_rows(text, _NO_DELIMITER) if row.cells]


def parse_pairs(text: str, file: str, columns: tuple[str, str]) -> Iterator[tuple[int, str, str]]:
    """Parse a table with two columns.

    Comments (rows that begin with ``#``) are skipped. If the first row has several cells and
    contains the name of the second column, it is a header. In a table with a header, the columns
    may be in any order, and additional columns are ignored. If the header does not contain the name
    of the first column, the first value is in the leftmost column that is not the second column.

    Parameters
    ----------
    text
        Content of the file.
    file
        Name of the file, for error messages. If it ends with ``.csv``, commas are preferred if
        several delimiters are possible.
    columns
        Names of the two columns, as :func:`normalize_header` returns them.

    Yields
    ------
    line, first, second
        Line number of the row, counted from 1, and its two values without surrounding white space.

    Raises
    ------
    DataError
        A row lacks one of the values or, without a header, has more than two values.
    """
    first, second = columns
    rows = parse_rows(text, prefers_comma=file.lower().endswith(".csv"))
    rows = [row for row in rows if not row.is_comment]
    names = [normalize_header(cell) for cell in rows[0].cells] if rows else []
    has_header, indices = second in names and len(names) > 1, (0, 1)
    if has_header:
        index = names.index(second)
        indices = (names.index(first) if first in names else int(index == 0), index)
    for row in rows[has_header:]:
        first_value, second_value = (row.get_cell(i).strip() for i in indices)
        n_values = sum(bool(cell.strip()) for cell in row.cells)
        if not first_value or not second_value or (n_values > 2 and not has_header):
            separator = "<TAB>" if row.delimiter == "\t" else row.delimiter
            expected = separator.join(rows[0].cells if has_header else columns)
            raise DataError(
                f"{file}, line {row.line}: expected `{expected}`, got "
                f"{row.delimiter.join(row.cells)[:120]!r}. Write one {first} and one {second} per "
                "line, with quotes around values that contain the separator."
            )
        yield row.line, first_value, second_value


def normalize_header(cell: str) -> str:
    """Convert a column name to lower case with underscores: ``Image Path`` → ``image_path``.

    Underscores replace spaces and hyphens. Number signs (``#``) at the beginning are removed.
    """
    return re.sub(r"[\s_-]+", "_", cell.strip().lstrip("#").strip().casefold())


def format_rows(rows: Iterable[Sequence[str]]) -> str:
    """Format rows as a tab-separated table; cells are quoted only if necessary."""
    return "".join("\t".join(map(quote_cell, row)) + "\n" for row in rows)


def quote_cell(cell: str) -> str:
    """Return a cell, quoted if it contains a tab or line break or begins with a quote."""
    if cell.startswith('"') or any(c in cell for c in "\t\r\n"):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _split_rows(text: str, delimiter: str) -> Iterator[Row]:
    """Yield the rows of a table, including empty rows."""
    lines: Iterable[tuple[int, list[str]]]
    lines = ((i, line.split(delimiter)) for i, line in enumerate(_LINE_END.split(text), start=1))
    if '"' in text:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        # If the quotes are invalid, they are part of the cells.
        with contextlib.suppress(csv.Error):
            lines = [(reader.line_num, cells) for cells in reader]
    for number, cells in lines:
        while cells and not cells[-1].strip():
            cells.pop()
        yield Row(number, tuple(cells), delimiter)


def _find_delimiter(text: str, prefers_comma: bool) -> str:
    """Return the delimiter of a table, given the beginning of its text.

    The candidates are the tab, the semicolon and the comma, in this order; if ``prefers_comma`` is
    true, the order is reversed. Comments and blank rows are not examined. The result is the first
    candidate for which all examined rows have the same number of cells, at least two. If there is
    none, it is the first candidate for which all examined rows have at least two cells; if there is
    none either, the first candidate for which the first examined row has at least two cells;
    otherwise, the first candidate.
    """
    candidates = _DELIMITERS[::-1] if prefers_comma else _DELIMITERS
    widths = {}
    if len(text) == _SAMPLE_CHARACTERS:  # the last line may be incomplete
        text = text[: max(text.rfind("\n"), text.rfind("\r"))]
    for delimiter in candidates:
        rows = [row for row in _split_rows(text, delimiter) if row.cells and not row.is_comment]
        widths[delimiter] = [len(row.cells) for row in rows[:_SAMPLE_ROWS]] or [1]
    conditions: tuple[Callable[[list[int]], bool], ...] = (
        lambda w: min(w) == max(w) >= 2,
        lambda w: min(w) >= 2,
        lambda w: w[0] >= 2,
    )
    return next((d for meets in conditions for d in candidates if meets(widths[d])), candidates[0])
