"""Tables as Markdown, CSV and Parquet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from whichgen.io.atomic import replace_file, write_text

Row = Mapping[str, Any]


def percent(value: float | None) -> str:
    """A rate in [0, 1] as a percentage with two digits; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def markdown_table(rows: Sequence[Row]) -> str:
    """A Markdown table whose columns are the first row's keys; empty without rows."""
    if not rows:
        return ""
    columns = list(rows[0])
    cells = [columns, ["---"] * len(columns), *([row.get(c, "") for c in columns] for row in rows)]
    # A bar in a name would end its cell.
    lines = (" | ".join(str(cell).replace("|", "\\|") for cell in line) for line in cells)
    return "".join(f"| {line} |\n" for line in lines)


def csv_text(rows: Sequence[Row]) -> str:
    """Rows as CSV with a header: every key that occurs, in order of appearance."""
    out = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Writes :func:`csv_text` to a file."""
    write_text(path, csv_text(rows))


def write_parquet(path: Path, rows: Sequence[Row], schema: pa.Schema | None = None) -> None:
    """Writes rows as one Parquet file; a key that a row lacks is null in it.

    ``schema`` (left out: as the values are) keeps files of one folder alike.
    """

    def storable(value: Any) -> Any:
        # The name of a file need not be UTF-8; Parquet's texts must.
        return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value

    columns = schema.names if schema else list(dict.fromkeys(key for row in rows for key in row))
    values = {column: [storable(row.get(column)) for row in rows] for column in columns}
    table = pa.table(values, schema=schema)
    with replace_file(path) as temporary:
        pq.write_table(table, temporary)
