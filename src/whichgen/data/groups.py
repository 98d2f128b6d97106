"""Groups of images that show the same – a prompt, a scene, a person – and are not independent."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from whichgen.errors import DataError
from whichgen.io.atomic import write_text
from whichgen.io.untrusted import read_regular_file

#: Bytes of a file at most.
_MOST_BYTES = 2**30


def read_groups(file: Path, column: str | None = None) -> dict[str, str]:
    """Reads ``path → group`` from a TSV or CSV file with a header.

    Parameters
    ----------
    file
        The file; its first column (or the one named ``path``) holds paths relative to the folder.
    column
        The column of the group; ``None``: ``group``, ``content``, or else the last one.
    """
    try:
        text = io.StringIO(read_regular_file(file, _MOST_BYTES).decode(), newline="")
        delimiter = "," if file.suffix.lower() == ".csv" else "\t"
        # Of a line that is too short what it lacks is empty.
        rows = list(csv.DictReader(text, delimiter=delimiter, restval=""))
    except FileNotFoundError:
        raise DataError(f"groups file {file} does not exist.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"groups file {file} can't be read ({error}).") from None
    # Cells beyond the header come under the name None.
    names = [name for name in rows[0] if name is not None] if rows else []
    if len(names) < 2:
        raise DataError(f"{file}: expected a header and at least two columns, path and group.")
    path = "path" if "path" in names else names[0]
    wanted = column or next((c for c in ("group", "content") if c in names), names[-1])
    if wanted not in names:
        raise DataError(f"{file} has no column {wanted!r}; it has {', '.join(names)}.")
    return {row[path]: row[wanted] or row[path] for row in rows}


def write_groups(file: Path, groups: Mapping[str, str]) -> None:
    """Writes ``path → group`` so that :func:`read_groups` reads it again."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerow(("path", "group"))
    writer.writerows(groups.items())
    write_text(file, out.getvalue())
