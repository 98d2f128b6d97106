"""Read and write the group of each image of a dataset.

Images of one group have the same prompt, scene or person, so they are not statistically
independent.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from whichgen.errors import DataError
from whichgen.io.atomic import write_text
from whichgen.io.untrusted_files import read_text_file


def read_groups(file: Path, column: str = "") -> dict[str, str]:
    """Read the group of each image from a TSV or CSV file with a header.

    Parameters
    ----------
    file
        CSV file if its suffix is ``.csv``, otherwise TSV file. The column ``path``, or the first
        column if there is no such column, contains the paths of the images: relative to the image
        folder if the user wrote the file, absolute if :func:`write_groups` wrote it.
    column
        Name of the group column. If empty, it is ``group`` if this column exists, else ``content``
        if it exists, else the last column.

    Returns
    -------
    dict
        Maps each path to its group. If the file contains no group for a path, the group is the path
        itself.

    Raises
    ------
    DataError
        The file is unreadable or not valid TSV or CSV, has fewer than two columns or no row below
        the header, or has no column of the name ``column``.
    """
    text = io.StringIO(read_text_file(file, "groups file"), newline="")
    delimiter = "," if file.suffix.lower() == ".csv" else "\t"
    try:
        rows = list(csv.DictReader(text, delimiter=delimiter, restval=""))
    except csv.Error as error:
        raise DataError(
            f"groups file {file} is invalid ({error}). Save it again as TSV or CSV."
        ) from None
    # DictReader stores cells beyond the header under the key None.
    names = [name for name in rows[0] if name is not None] if rows else []
    if len(names) < 2:
        raise DataError(
            f"groups file {file} needs a header with the columns path and group, and a row."
        )
    path = "path" if "path" in names else names[0]
    group = column or next((c for c in ("group", "content") if c in names), names[-1])
    if group not in names:
        raise DataError(f"{file} has no column {group!r}. Choose from {', '.join(names)}.")
    return {row[path]: row[group] or row[path] for row in rows}


def write_groups(file: Path, groups: Mapping[str, str]) -> None:
    """Write a dictionary from paths to groups to a TSV file that :func:`read_groups` can read."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(("path", "group"))
    writer.writerows(groups.items())
    write_text(file, buffer.getvalue())
