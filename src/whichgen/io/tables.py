"""Write tables as Markdown, CSV or Parquet, and results as JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichgen.io.atomic import replace_file, write_text
from whichgen.io.file_names import show_name, show_names

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]


def percent(value: float | None) -> str:
    """Format a rate in [0, 1] as a percentage with one decimal and no percent sign.

    ``None`` and NaN are formatted as an en dash.
    """
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def markdown_table(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table; the keys of the first row are the columns.

    Cells of missing keys are empty. Return an empty string if there are no rows.
    """
    if not rows:
        return ""
    columns = list(rows[0])
    cells = [columns, ["---"] * len(columns), *([row.get(c, "") for c in columns] for row in rows)]
    # A vertical bar in a name would end its cell.
    lines = (" | ".join(str(cell).replace("|", "\\|") for cell in line) for line in cells)
    return "".join(f"| {line} |\n" for line in lines)


def csv_text(rows: Sequence[Row]) -> str:
    """Format rows as CSV; the columns are all keys in order of first appearance.

    Cells of missing keys are empty.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, _list_columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return show_name(out.getvalue())


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows to a CSV file, formatted by :func:`csv_text`."""
    write_text(path, csv_text(rows))


def write_json(path: Path, value: Any) -> None:
    """Write a value to a JSON file; dataclasses are written as objects.

    NaN and infinity, which JSON does not support, are written as null.
    """
    finite = json.loads(json.dumps(value, default=vars), parse_constant=lambda _: None)
    write_text(path, json.dumps(show_names(finite), indent=1, allow_nan=False) + "\n")


def write_parquet(path: Path, rows: Sequence[Row], schema: pa.Schema | None = None) -> None:
    """Write rows to a Parquet file; keys missing from a row are written as null.

    File names that are not UTF-8, which Parquet requires, are shown as in
    :func:`~whichgen.io.file_names.show_name`.

    Parameters
    ----------
    path
        The Parquet file.
    rows
        ``rows[i][column]`` is a value.
    schema
        Columns and types; inferred from the values if ``None``. Pass a schema if several files of
        one folder must have the same columns and types.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = schema.names if schema else _list_columns(rows)
    values = {column: [show_names(row.get(column)) for row in rows] for column in columns}
    table = pa.table(values, schema=schema)
    with replace_file(path) as temporary:
        pq.write_table(table, temporary)


def _list_columns(rows: Sequence[Row]) -> list[str]:
    """Return all keys in order of first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))
