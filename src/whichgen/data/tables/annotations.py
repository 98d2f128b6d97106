"""Read and write annotation files: one ``path<TAB>label`` per line.

The delimiter can also be a semicolon or a comma (:mod:`whichgen.io.text_tables`). If there is a
header with names of a column of paths and a column of labels, the columns may be in any order.

A label is the name of an origin or, as in the reference implementation, its index. In a file of
known origins, the indices start at 0. In a file of unknown origins, they start at the number of
known origins, or at 0 if the file contains an index below this number. whichgen writes only
indices, so that the reference implementation can read the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

from whichgen.data.dataset import Sample
from whichgen.errors import DataError
from whichgen.io.atomic_writes import write_text
from whichgen.io.text_tables import (
    PATH_COLUMNS,
    Row,
    format_rows,
    normalize_header,
    read_rows,
)
from whichgen.option_names import name_option

#: Maximum number of paths that are looked up to find the base folder of relative paths.
_PROBED_PATHS = 20

#: Normalized names of a column of labels, in order of preference.
_LABEL_COLUMNS = ("label", "origin", "class", "generator", "model", "category")

#: Names of delimiters in an error message.
_DELIMITER_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon"}

#: Possible conversions of the paths in a file: no conversion, removal of surrounding blanks, and
#: conversion of Windows paths.
_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    str.strip,
    lambda path: path.strip().replace("\\", "/"),
)


def read_annotations(
    file: Path,
    origins: Sequence[str],
    *,
    bases: Sequence[Path],
    first_index: int = 0,
    indices: bool = False,
) -> tuple[Sample, ...]:
    """Read the images and origins listed in an annotation file.

    A line that begins with ``#`` is a comment, unless it contains the path of an existing file.

    Parameters
    ----------
    file
        The annotation file.
    origins
        Origins that may occur in the file, in the order of their indices.
    bases
        Candidate base folders of relative paths. The first 20 paths are looked up in turn, each in
        all folders: unchanged, without surrounding blanks, and with slashes instead of backslashes.
        The first match determines the base folder and the spelling of all paths in the file. If
        there is no match, the paths are unchanged, and the base folder is ``bases[0]``, or the
        working directory if ``bases`` is empty.
    first_index
        Index of ``origins[0]``: 0 for known origins, and the number of known origins for unknown
        origins. If the file contains a smaller index, and ``indices`` is ``False``, the index of
        ``origins[0]`` is 0.
    indices
        Whether all labels are indices that start at ``first_index``. If not, labels can also be
        names of origins; a label such as ``1`` that is the name of an origin is not an index.

    Returns
    -------
    tuple of Sample
        One sample per row, without the header and comments, in the order of the file.

    Raises
    ------
    DataError
        The file is missing or unreadable, a line lacks a path or a label, or a label is neither one
        of ``origins`` nor a valid index.
    """
    table = read_rows(
        file,
        "annotation file",
        "Set root=FOLDER to the folder that contains the folder of the benchmark, or run "
        "`whichgen dataset prepare` to write the annotation files. For your own images, specify "
        f"{name_option('--data FOLDER', 'their folder')}.",
    )
    names = () if indices else origins
    is_table = bool(table) and _is_header(table[0], origins)
    cells = [_get_cells(row, table[0] if is_table else None) for row in table]
    base, spell = _find_base([path for path, _ in cells[is_table:][:_PROBED_PATHS]], bases)
    rows: list[tuple[int, str, str]] = []
    for row, (cell, label) in zip(table[is_table:], cells[is_table:], strict=True):
        path = spell(cell)
        if row.is_comment and not (path and os.path.exists(base / path)):  # noqa: PTH110
            continue
        if not path or not label.strip():
            raise DataError(
                f"{file}, line {row.line}: expected a path and a label, got "
                f"{row.delimiter.join(row.cells)[:120]!r}. Write one path and one label per line, "
                f"separated by one {_DELIMITER_NAMES.get(row.delimiter, repr(row.delimiter))}."
            )
        rows.append((row.line, path, label if label in names else label.strip()))
    smaller_indices = set() if indices else {str(i) for i in range(first_index)} - set(origins)
    if not smaller_indices.isdisjoint(label for _, _, label in rows):
        first_index = 0
    by_label = {str(i): origin for i, origin in enumerate(origins, first_index)}
    by_label |= {origin: origin for origin in names}
    samples = []
    for number, path, label in rows:
        if label not in by_label:
            raise DataError(
                f"{file}, line {number}: invalid label {label[:120]!r}. Use an index from "
                f"{first_index} to {first_index + len(origins) - 1}"
                f"{', or one of ' * bool(names)}{', '.join(names)}."
            )
        samples.append(Sample(base / path, by_label[label]))
    return tuple(samples)


def write_annotations(file: Path, samples: Iterable[Sample], labels: Mapping[str, int]) -> None:
    """Write an annotation file with one line per sample: its absolute path, a tab and its label.

    A path that contains a tab or a line break, or begins with a quote, is quoted. Bytes that are
    not UTF-8 are written unchanged. The reference implementation can't read a file with such paths,
    or with paths that contain other line breaks, such as a form feed or U+2028.

    Parameters
    ----------
    file
        Path of the annotation file, which is created or replaced.
    samples
        The samples.
    labels
        Maps each origin to its index, which is written as its label.

    Raises
    ------
    OSError
        The file can't be written.
    """
    rows = ((str(sample.path.absolute()), str(labels[sample.origin])) for sample in samples)
    write_text(file, format_rows(rows), keep_bytes=True)


def _is_header(row: Row, origins: Sequence[str]) -> bool:
    """Return whether a row names a column of paths and one of labels, and contains no origin."""
    names = [normalize_header(cell) for cell in row.cells]
    return (
        set(origins).isdisjoint(row.cells)
        and not set(PATH_COLUMNS).isdisjoint(names)
        and not set(_LABEL_COLUMNS).isdisjoint(names)
    )


def _get_cells(row: Row, header: Row | None) -> tuple[str, str]:
    """Return the path and the label of a row."""
    if header is None:  # the path may contain the delimiter
        return row.delimiter.join(row.cells[:-1]), row.cells[-1]
    names = [normalize_header(cell) for cell in header.cells]
    path, label = (
        next(names.index(name) for name in columns if name in names)
        for columns in (PATH_COLUMNS, _LABEL_COLUMNS)
    )
    return row.get_cell(path), row.get_cell(label)


def _find_base(paths: Sequence[str], bases: Sequence[Path]) -> tuple[Path, Callable[[str], str]]:
    """Return the base folder of the paths, and their conversion, one of :data:`_SPELLINGS`."""
    for path, base, spell in product(paths, bases, _SPELLINGS):
        if os.path.exists(base / spell(path)):  # noqa: PTH110 (Path.exists raises on long names)
            return base, spell
    return bases[0] if bases else Path(), _SPELLINGS[0]
