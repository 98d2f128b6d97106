"""Annotation files: one ``path<TAB>label`` a line.

A label is an origin's name, or its index as the first implementation writes it: the position in
the list of known origins; in a file of unknown images the position in the list of unknown origins,
counted from 0 or, where every label allows it, on from the last known one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from whichgen.data.dataset import Sample
from whichgen.errors import DataError
from whichgen.io.atomic import write_text
from whichgen.io.untrusted import read_regular_file

#: So many images of a file are looked for before its paths count as relative to the first base.
_PROBED = 20

#: Bytes of a file at most; a million lines are a tenth of it.
_MOST_BYTES = 2**30

#: Digits of an index at most: Python refuses to read numbers of thousands.
_MOST_DIGITS = 9


def read_annotations(
    file: Path,
    origins: Sequence[str],
    *,
    bases: Sequence[Path],
    first_index: int = 0,
) -> tuple[Sample, ...]:
    """Reads one annotation file.

    Parameters
    ----------
    file
        The annotation file, UTF-8.
    origins
        The origins whose images the file may hold, in the order of their indices.
    bases
        Folders that relative image paths may be relative to; the first under which one of the
        file's first images exists is taken for the whole file.
    first_index
        The index of ``origins[0]`` where labels are numbers that go on from another list.

    Raises
    ------
    DataError
        The file is missing, a line has no tab, or a label is out of range.
    """
    try:
        text = read_regular_file(file, _MOST_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(
            f"annotation file {file} does not exist. Make it with `whichgen dataset split`, "
            "or give the folder that holds it with `root=`."
        ) from None
    except OSError as error:
        raise DataError(f"annotation file {file} can't be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text ({error}). Is it an annotation file?") from None
    rows: list[tuple[int, str, str]] = []
    # Not splitlines(): a file's name may hold what Unicode counts as a line break (U+2028).
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        path, tab, label = line.removesuffix("\r").rpartition("\t")
        if not tab or not path or not label.strip():
            raise DataError(
                f"{file}, line {number}: expected `path<TAB>label`, got {line[:120]!r}. "
                "Separate path and label by one tab."
            )
        rows.append((number, path, label if label in origins else label.strip()))
    indices = [int(label) for _, _, label in rows if _is_index(label) and label not in origins]
    offset = first_index if indices and min(indices) >= first_index else 0
    base = _base([path for _, path, _ in rows[:_PROBED]], bases)
    return tuple(
        Sample(base / path, _origin(label, origins, offset, f"{file}, line {number}"))
        for number, path, label in rows
    )


def write_annotations(file: Path, samples: Sequence[Sample]) -> None:
    """Writes samples as ``absolute path<TAB>origin`` lines."""
    lines = []
    for sample in samples:
        path = str(sample.path.absolute())
        if any(c in path for c in "\t\n\r"):
            raise DataError(f"{path!r} has a tab or line break in its name; rename the file.")
        if not _is_utf8(path):
            raise DataError(f"the name {path!r} is not UTF-8; rename the file.")
        lines.append(f"{path}\t{sample.origin}\n")
    write_text(file, "".join(lines))


def _is_utf8(path: str) -> bool:
    # Python reads a name that is not UTF-8 into lone surrogates, which can't be written.
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _origin(label: str, origins: Sequence[str], offset: int, where: str) -> str:
    if label in origins:
        return label
    if _is_index(label) and 0 <= int(label) - offset < len(origins):
        return origins[int(label) - offset]
    raise DataError(
        f"{where}: label {label[:120]!r} is out of range. Allowed here: {offset} to "
        f"{offset + len(origins) - 1}, or a name of {', '.join(origins)}."
    )


def _is_index(label: str) -> bool:
    return label.isdecimal() and len(label) <= _MOST_DIGITS


def _base(paths: Sequence[str], bases: Sequence[Path]) -> Path:
    for path in paths:
        for base in bases:
            if os.path.exists(base / path):  # noqa: PTH110 (Path's raises if a name is too long)
                return base
    return bases[0] if bases else Path()
