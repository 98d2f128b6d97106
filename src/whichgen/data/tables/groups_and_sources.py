"""Read and write the group and the source of each image of a dataset.

Images of one group have the same prompt, scene or person, so they are not statistically
independent. A source is the website, repository or person that published an image.

Groups and sources are read from a table with a column of paths. The columns are determined by their
names and by the images that they match; the group column can also be specified by its name or
number. The columns and the numbers of groups and images are logged or, if the table has no header,
a row matches no image, or an image has no row, reported in a warning. Sources can also be
determined by folder names (:func:`list_source_folders`).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from whichgen.data.dataset import list_images
from whichgen.data.images.formats import IMAGE_SUFFIXES
from whichgen.data.layouts.folder_layout import read_layout
from whichgen.data.tables.path_matching import PathMatcher
from whichgen.errors import DataError, WhichgenWarning
from whichgen.io.atomic_writes import write_text
from whichgen.io.file_names import escape_name
from whichgen.io.text_tables import PATH_COLUMNS, Row, format_rows, normalize_header, read_rows
from whichgen.option_names import name_option
from whichgen.phrases import format_count

_LOG = logging.getLogger(__name__)

#: Value of the option ``sources`` if each source is a subfolder of the folder of an origin.
SOURCE_FOLDERS = "folders"

#: Names of the column of groups and of sources, in order of preference.
_COLUMNS = {"group": ("group", "content"), "source": ("source",)}

#: Maximum number of examples in a message.
_MAX_EXAMPLES = 3


@dataclass(frozen=True)
class NameTable:
    """Group or source of each image, read from a table.

    Parameters
    ----------
    names
        Maps the path of each listed image to its group or source, or to the path itself if the cell
        is empty.
    columns
        Description of the columns, such as ``paths are in column `path`, groups in column 3``.
    unmatched_rows
        Rows, except comments, that match no image.
    has_header
        Whether the table has a header.
    """

    names: dict[str, str]
    columns: str
    unmatched_rows: tuple[Row, ...]
    has_header: bool


def read_groups(file: Path, column: str = "", *, folder: Path | None = None) -> dict[str, str]:
    """Read the group of each image from a table.

    Parameters
    ----------
    file
        Table in the format of :func:`read_name_table`.
    column
        Name of the group column, or its number, counted from 1. If empty, the group column is
        ``group``. If this column does not exist, the group column is ``content``, or else the only
        column besides the paths.
    folder
        The image folder. If ``None``, paths are not matched to images.

    Returns
    -------
    dict
        Maps the path of each listed image, relative to the folder, to its group. If ``folder`` is
        ``None``, the paths are those in the table. An image with an empty group is its own group.

    Raises
    ------
    DataError
        The file is unreadable, has no rows or only one column, or has no row that matches an image;
        an image has two groups; or the group column can't be determined.

    Warns
    -----
    WhichgenWarning
        The table has no header, a row matches no image, or an image has no row. If there is no
        such problem, the columns and the numbers of groups and images are logged. A separate
        warning lists the skipped files in ``folder`` (:func:`~whichgen.data.dataset.list_images`).
    """
    return _read_names(file, "group", column, folder)


def read_source_option(option: str, folder: Path, real: Collection[str] = ()) -> dict[str, str]:
    """Return the source of each image as the option ``--sources`` specifies.

    Parameters
    ----------
    option
        ``folders`` (see :func:`list_source_folders`) or the path of a file (see
        :func:`read_sources`).
    folder
        The image folder.
    real
        Names of folders of photographs (:func:`~whichgen.data.layouts.folder_layout.read_layout`).
        They are used only if ``option`` is ``folders``.

    Returns
    -------
    dict
        Maps the path of each image, relative to ``folder``, to its source. Images without a row in
        the file are missing.

    Raises
    ------
    DataError
        See :func:`list_source_folders` and :func:`read_sources`.

    Warns
    -----
    WhichgenWarning
        See :func:`list_source_folders` and :func:`read_sources`.
    """
    if option == SOURCE_FOLDERS:
        return list_source_folders(folder, real)
    return read_sources(Path(option), folder=folder)


def read_sources(file: Path, *, folder: Path | None = None) -> dict[str, str]:
    """Read the source of each image from a table, as :func:`read_groups` does.

    The source column is ``source`` or, if there is no such column, the only column besides the
    paths. An image with an empty source is its own source. See :func:`read_groups` for the
    parameters, the result, the exceptions and the warnings.
    """
    return _read_names(file, "source", "", folder)


def list_source_folders(folder: Path, real: Collection[str] = ()) -> dict[str, str]:
    """Return a dictionary from the relative path of each image to the name of its source folder.

    The images of a source are in ``folder/origin/source`` and its subfolders. Source folders of the
    same name in several origins are one source. Images directly in ``folder`` are omitted.

    Parameters
    ----------
    folder
        The image folder.
    real
        Names of folders of photographs (:func:`~whichgen.data.layouts.folder_layout.read_layout`).

    Raises
    ------
    DataError
        The origins can't be determined (:func:`~whichgen.data.layouts.folder_layout.read_layout`),
        or an image is directly in its origin's folder.

    Warns
    -----
    WhichgenWarning
        Files or folders are skipped (:func:`~whichgen.data.dataset.list_images`).
    """
    layout = read_layout(folder, real)
    for path in (path for paths in layout.origins.values() for path in paths):
        if path not in layout.sources:
            raise DataError(
                f"{path} is not in a source folder. Move it to {path.parent}/SOURCE/, or list "
                f"the sources of all images in a file: {name_option('--sources FILE')}."
            )
    return {p.relative_to(folder).as_posix(): source for p, source in layout.sources.items()}


def _read_names(file: Path, kind: str, column: str, folder: Path | None) -> dict[str, str]:
    """Read groups or sources (:func:`read_groups`), and log or warn about the table."""
    images = None
    if folder:
        images = [path.relative_to(folder).as_posix() for path in list_images(folder)]
    table = read_name_table(file, kind, images, column)
    message = f"{file}: {table.columns}; {format_count(len(set(table.names.values())), kind)}"
    is_complete = table.has_header and not table.unmatched_rows
    if images is not None:
        is_complete = is_complete and len(table.names) == len(images)
        message += f"; rows for {len(table.names)} of {format_count(len(images), 'image')}"
    if rows := table.unmatched_rows:
        message += f"; {format_count(len(rows), 'row')} without an image: {_list_rows(rows)}"
    if is_complete:
        _LOG.info("%s.", message)
    else:
        warnings.warn(f"{message}. Check the table.", WhichgenWarning, stacklevel=1)
    return table.names


def read_name_table(
    file: Path, kind: str, images: Sequence[str] | None, column: str = ""
) -> NameTable:
    """Read the group or source of each image from a table.

    Parameters
    ----------
    file
        Table of any format that :mod:`whichgen.io.text_tables` reads, with or without a header. The
        paths are in the column that matches the most images
        (:class:`~whichgen.data.tables.path_matching.PathMatcher`).
    kind
        ``group`` or ``source``.
    images
        Path of each image, relative to the image folder or absolute. If ``None``, the paths are the
        cells of the column whose name is in :data:`~whichgen.io.text_tables.PATH_COLUMNS`. If there
        is no such column, they are the cells with an image suffix in the column that has the most
        of these cells.
    column
        Name of the column of groups or sources, or its number, counted from 1; if empty, see
        :func:`read_groups` and :func:`read_sources`.

    Returns
    -------
    NameTable
        The groups or sources, and how the table was read.

    Raises
    ------
    DataError
        The file is unreadable, has no rows or only one column, or has no row that matches an image;
        an image has two groups or sources; or the column of groups or sources can't be determined.
    """
    rows = read_rows(file, f"{kind}s file")
    find_image = _find_path if images is None else PathMatcher(images).find
    n_columns = max((len(row.cells) for row in rows), default=0)
    matches = [[find_image(row.get_cell(i)) for row in rows] for i in range(n_columns)]
    known = {*PATH_COLUMNS, *_COLUMNS[kind], normalize_header(column)} - {""}
    matched_lines = {row.line for row, *paths in zip(rows, *matches, strict=True) if any(paths)}
    header = _find_header(rows, known, matched_lines)
    if n_columns < 2 or rows == [header]:
        raise DataError(
            f"{kind}s file {file} has no rows or only one column. Write a table with the columns "
            f"path and {kind}."
        )
    names = [normalize_header(cell) for cell in header.cells] if header else []
    path_columns = [names.index(name) for name in PATH_COLUMNS if name in names]
    if images is None and path_columns:
        matches[path_columns[0]] = [row.get_cell(path_columns[0]).strip() or None for row in rows]
    n_matches = [sum(map(bool, column_matches)) for column_matches in matches]
    path_index = max([*path_columns, *range(n_columns)], key=lambda i: n_matches[i])
    if not n_matches[path_index]:
        raise DataError(
            f"no row of the {kind}s file {file} matches an image. Its first row is "
            f"{' | '.join(rows[0].cells)[:120]!r}. Write the paths of the images, such as "
            f"{images[0] if images else 'real/0.png'}."
        )
    candidates = [
        i
        for i in range(n_columns)
        if i != path_index and any(row.get_cell(i).strip() for row in rows)
    ]
    value_index = _find_column(candidates, names, column, _COLUMNS[kind])
    if value_index is None:
        choices = ", ".join(
            names[i] if i < len(names) and names[i] else str(i + 1) for i in candidates
        )
        if not candidates:
            advice = f"Add a column {kind} with the {kind} of each image."
        elif kind == "group":
            advice = f"Set {name_option('--group-column')} to one of {choices}."
        elif header:
            advice = f"Rename one of these columns to {kind}: {choices}."
        else:
            advice = f"Add a first line with the names of the columns, such as path and {kind}."
        raise DataError(f"{kind}s file {file} has no column {column or kind!r}. {advice}")

    result, lines, unmatched_rows = dict[str, str](), dict[str, int](), list[Row]()
    for row, image in zip(rows, matches[path_index], strict=True):
        if row is header:
            continue
        if image is None:
            if not row.is_comment:
                unmatched_rows.append(row)
            continue
        name = escape_name(row.get_cell(value_index).strip() or image)
        if result.setdefault(image, name) != name:
            raise DataError(
                f"{file}, line {row.line}: {image} has the {kind} {name!r}, but on line "
                f"{lines[image]} it has {result[image]!r}. Remove one of the lines."
            )
        lines[image] = row.line
    path_column, value_column = (_describe_column(header, i) for i in (path_index, value_index))
    columns = f"paths are in {path_column}, {kind}s in {value_column}"
    return NameTable(result, columns, tuple(unmatched_rows), header is not None)


def write_names(file: Path, column: str, names: Mapping[str, str]) -> None:
    """Write the group or source of each path to a TSV file that :func:`read_name_table` can read.

    Parameters
    ----------
    file
        Path of the table, which is created or replaced.
    column
        Name of the second column: ``group`` or ``source``.
    names
        Maps each path to its group or source.

    Raises
    ------
    OSError
        The file can't be written.
    """
    write_text(file, format_rows([("path", column), *names.items()]), keep_bytes=True)


def _find_header(
    rows: Sequence[Row], known: Collection[str], matched_lines: Collection[int]
) -> Row | None:
    """Return the header, or ``None`` if the table has no header.

    The header is the first row, which may be a comment, if it contains a known column name; or else
    the first row that is not a comment, if it contains a known column name or no cell with the
    suffix of an image. A row that matches an image is never the header.

    Parameters
    ----------
    rows
        Rows of the table.
    known
        Known column names, in normalized spelling.
    matched_lines
        Numbers of the lines with the path of an image.
    """
    first = next((row for row in rows if not row.is_comment), None)
    if first is None:
        return None
    for row in (rows[0], first):
        names = {normalize_header(cell) for cell in row.cells}
        if row.line not in matched_lines and not names.isdisjoint(known):
            return row
    is_path = first.line in matched_lines or any(map(_find_path, first.cells))
    return None if is_path else first


def _find_column(
    candidates: Sequence[int], names: Sequence[str], column: str, known: Sequence[str]
) -> int | None:
    """Return the index of the column of groups or sources, or ``None`` if it can't be determined.

    Parameters
    ----------
    candidates
        Indices of the columns that are not empty and do not contain the paths.
    names
        Normalized name of each column; empty if there is no header.
    column
        Name of the column, or its number, counted from 1; empty if the user did not choose a
        column.
    known
        Possible names of the column if the user did not choose a column.
    """
    by_name = {names[i]: i for i in reversed(candidates) if i < len(names)}
    if column:
        by_name = {str(i + 1): i for i in candidates} | by_name
        return by_name.get(normalize_header(column))
    only = candidates[0] if len(candidates) == 1 else None
    return next((by_name[name] for name in known if name in by_name), only)


def _find_path(cell: str) -> str | None:
    """Return the path in a cell, or ``None`` if the cell does not end with an image suffix."""
    path = cell.strip()
    return path if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES else None


def _describe_column(header: Row | None, index: int) -> str:
    name = header.get_cell(index).strip() if header else ""
    return f"column `{name}`" if name else f"column {index + 1}{'' if header else ' (no header)'}"


def _list_rows(rows: Sequence[Row]) -> str:
    lines = [f"line {row.line} ({' | '.join(row.cells)[:60]})" for row in rows[:_MAX_EXAMPLES]]
    return ", ".join(lines) + (", …" if len(rows) > _MAX_EXAMPLES else "")
