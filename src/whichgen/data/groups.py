"""Read and write the group and the source of each image of a dataset.

Images of one group have the same prompt, scene or person, so they are not statistically
independent. A source is the website, repository or person that published an image.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from whichgen.data.splits import list_origins
from whichgen.errors import DataError
from whichgen.io.atomic import write_text
from whichgen.io.untrusted_files import read_text_file

#: Value of the option ``sources`` if each source is a subfolder of its origin's folder.
SOURCE_FOLDERS = "folders"


def read_groups(file: Path, column: str = "") -> dict[str, str]:
    """Read the group of each image from a TSV or CSV file with a header.

    Parameters
    ----------
    file
        CSV file if its suffix is ``.csv``, otherwise TSV file; if the header does not contain this
        separator, semicolons, tabs or commas. The column ``path``, or the first column if there is
        no such column, contains the paths of the images: relative to the image folder if the user
        wrote the file, absolute if :func:`write_names` wrote it.
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
    return _read_names(file, "group", column, ("group", "content"))


def open_sources(option: str, folder: Path) -> dict[str, str]:
    """Return the source of each image: the mapping that the value of ``--sources`` stands for.

    ``folder`` is the image folder. ``option`` is ``folders`` (see :func:`list_source_folders`) or
    the path of a file (see :func:`read_sources`).
    """
    return list_source_folders(folder) if option == SOURCE_FOLDERS else read_sources(Path(option))


def read_sources(file: Path) -> dict[str, str]:
    """Read the source of each image from a TSV or CSV file in the format of :func:`read_groups`.

    The source column is ``source`` if this column exists, else the last column.

    Raises
    ------
    DataError
        As in :func:`read_groups`.
    """
    return _read_names(file, "source", "", ("source",))


def list_source_folders(folder: Path) -> dict[str, str]:
    """Return a dictionary from the relative path of each image to the name of its source folder.

    The images of a source are in ``folder/origin/source``. Source folders of the same name under
    several origins are one source.

    Raises
    ------
    DataError
        ``folder`` has no subfolder with images, or an image is directly in its origin's folder.
    """
    sources = {}
    for paths in list_origins(folder).values():
        for path in paths:
            name = path.relative_to(folder)
            if len(name.parts) < 3:
                raise DataError(
                    f"{path} is not in a source folder. Move it to {path.parent}/SOURCE/, or list "
                    "the sources of all images in a file: --sources FILE."
                )
            sources[name.as_posix()] = name.parts[1]
    return sources


def _read_names(file: Path, kind: str, column: str, columns: Sequence[str]) -> dict[str, str]:
    content = read_text_file(file, f"{kind}s file")
    text = io.StringIO(content, newline="")
    try:
        rows = list(csv.DictReader(text, delimiter=_find_delimiter(file, content), restval=""))
    except csv.Error as error:
        raise DataError(
            f"{kind}s file {file} is invalid ({error}). Save it again as TSV or CSV."
        ) from None
    # DictReader stores cells beyond the header under the key None.
    names = [name for name in rows[0] if name is not None] if rows else []
    if len(names) < 2:
        raise DataError(
            f"{kind}s file {file} needs a header with the columns path and {kind}, and a row."
        )
    path = "path" if "path" in names else names[0]
    column = column or next((c for c in columns if c in names), names[-1])
    if column not in names:
        raise DataError(f"{file} has no column {column!r}. Choose from {', '.join(names)}.")
    return {row[path]: row[column] or row[path] for row in rows}


def _find_delimiter(file: Path, content: str) -> str:
    """Return the character that separates the columns of the header.

    Spreadsheets write semicolons into CSV files where the comma is the decimal separator.
    """
    usual = "," if file.suffix.lower() == ".csv" else "\t"
    header = content.partition("\n")[0]
    return next((d for d in (usual, ";", "\t", ",") if d in header), usual)


def write_names(file: Path, column: str, names: Mapping[str, str]) -> None:
    """Write a dictionary from paths to groups or sources to a TSV file.

    ``column`` is the name of the second column: ``group`` or ``source``. :func:`read_groups` or
    :func:`read_sources` can read the file.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(("path", column))
    writer.writerows(names.items())
    write_text(file, buffer.getvalue())
