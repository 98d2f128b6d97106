"""Format and write result files: tables as Markdown, CSV or Parquet, and values as JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichgen.io.atomic_writes import replace_file, write_text
from whichgen.io.file_names import escape_name, escape_names

if TYPE_CHECKING:
    import pyarrow as pa

#: Row of a table: maps column names to the values of cells.
Row = Mapping[str, Any]


def format_rate(value: float | None) -> str:
    """Format a rate in [0, 1] as a percentage with one decimal and no percent sign.

    ``None`` and NaN are formatted as an en dash.
    """
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def format_markdown_table(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table; the keys of the first row are the columns.

    Other keys are ignored, and the cell of a key that a row lacks is empty. The table is an empty
    string if there are no rows.
    """
    if not rows:
        return ""
    columns = list(rows[0])
    cells = [columns, ["---"] * len(columns), *([row.get(c, "") for c in columns] for row in rows)]
    # A vertical bar in the text of a cell would end the cell.
    lines = (" | ".join(str(cell).replace("|", "\\|") for cell in line) for line in cells)
    return "".join(f"| {line} |\n" for line in lines)


def format_csv(rows: Sequence[Row]) -> str:
    """Format rows as CSV; the columns are the keys of all rows, in order of first appearance.

    The cell of a key that a row lacks is empty. File names that are not UTF-8 are escaped
    (:func:`~whichgen.io.file_names.escape_name`).
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, _list_columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return escape_name(out.getvalue())


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows to a CSV file, formatted by :func:`format_csv`.

    Raises
    ------
    OSError
        The file can't be written.
    """
    write_text(path, format_csv(rows))


def write_json(path: Path, value: Any) -> None:
    """Write a value to a JSON file; dataclasses are written as objects.

    NaN and infinity, which JSON does not support, are written as null. File names that are not
    UTF-8 are escaped (:func:`~whichgen.io.file_names.escape_name`).

    Parameters
    ----------
    path
        The JSON file.
    value
        A value made of JSON types, tuples and dataclasses.

    Raises
    ------
    OSError
        The file can't be written.
    TypeError
        The value contains an object that JSON can't represent, such as a NumPy array.
    """
    finite_value = json.loads(json.dumps(value, default=vars), parse_constant=lambda _: None)
    write_text(path, json.dumps(escape_names(finite_value), indent=1, allow_nan=False) + "\n")


def write_parquet(path: Path, rows: Sequence[Row], schema: pa.Schema | None = None) -> None:
    """Write rows to a Parquet file; the cell of a key that a row lacks is null.

    Parquet requires UTF-8, so file names that are not UTF-8 are escaped
    (:func:`~whichgen.io.file_names.escape_name`).

    Parameters
    ----------
    path
        The Parquet file.
    rows
        ``rows[i][column]`` is the value of a cell.
    schema
        Columns and types; inferred from the values if ``None``. Keys that are not columns of the
        schema are ignored. A schema is necessary if several files in one folder must have the same
        columns and types.

    Raises
    ------
    OSError
        The file can't be written.
    pyarrow.ArrowException
        A value does not have the type of its column or, without ``schema``, the values of a column
        have different types.
    OverflowError
        An integer does not fit in 64 bits.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = schema.names if schema else _list_columns(rows)
    values = {column: [escape_names(row.get(column)) for row in rows] for column in columns}
    table = pa.table(values, schema=schema)
    with replace_file(path) as temporary:
        pq.write_table(table, temporary)


def _list_columns(rows: Sequence[Row]) -> list[str]:
    """Return the keys of all rows, in order of first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))
