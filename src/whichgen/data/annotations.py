"""Read and write annotation files: one ``path<TAB>label`` per line.

A label is the name of an origin or, as in the reference implementation, its index. In a file of
known origins, the indices start at 0. In a file of unknown origins, they start at the number of
known origins, or at 0 if the file contains an index below that number.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from whichgen.data.dataset import Sample
from whichgen.errors import DataError
from whichgen.io.atomic import write_text
from whichgen.io.untrusted_files import read_text_file

#: Number of images looked up to find the folder that relative paths start from.
_PROBED_PATHS = 20


def read_annotations(
    file: Path, origins: Sequence[str], *, bases: Sequence[Path], first_index: int = 0
) -> tuple[Sample, ...]:
    """Read the images and origins listed in an annotation file.

    Parameters
    ----------
    file
        The annotation file, UTF-8.
    origins
        Origins that may occur in the file, in the order of their indices.
    bases
        Candidate base folders of relative paths. Each of the first 20 paths is looked up in each
        folder; the first folder in which a path exists is the base folder of all paths in the file.
        If no path exists in any folder, the base folder is ``bases[0]``.
    first_index
        Index of ``origins[0]``: 0 for known origins, the number of known origins for unknown ones.
        If the file contains a smaller index, the index of ``origins[0]`` is 0.

    Returns
    -------
    tuple of Sample
        One sample per non-blank line, in the order of the file.

    Raises
    ------
    DataError
        The file is missing or unreadable, a line is not of the form ``path<TAB>label``, or a label
        is neither one of ``origins`` nor a valid index.
    """
    text = read_text_file(
        file,
        "annotation file",
        "To use your own images, pass --data FOLDER. A benchmark needs its folder: root=FOLDER.",
    )
    rows: list[tuple[int, str, str]] = []
    # Not splitlines(): file names may contain Unicode line breaks (U+2028).
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
    smaller_indices = {str(i) for i in range(first_index)} - set(origins)
    if not smaller_indices.isdisjoint(label for _, _, label in rows):
        first_index = 0
    by_label = {str(i): origin for i, origin in enumerate(origins, first_index)}
    by_label |= {origin: origin for origin in origins}
    base = _find_base([path for _, path, _ in rows[:_PROBED_PATHS]], bases)
    samples = []
    for number, path, label in rows:
        if label not in by_label:
            raise DataError(
                f"{file}, line {number}: invalid label {label[:120]!r}. Use an index from "
                f"{first_index} to {first_index + len(origins) - 1}, or one of "
                f"{', '.join(origins)}."
            )
        samples.append(Sample(base / path, by_label[label]))
    return tuple(samples)


def write_annotations(file: Path, samples: Sequence[Sample]) -> None:
    """Write an annotation file with one line per sample: its absolute path, a tab and its origin.

    Raises
    ------
    DataError
        A path contains a tab or a line break, or is not valid UTF-8.
    """
    lines = []
    for sample in samples:
        path = str(sample.path.absolute())
        if any(c in path for c in "\t\n\r"):
            raise DataError(f"file name {path!r} contains a tab or line break. Rename the file.")
        # Python reads a name that is not UTF-8 into surrogates, which cannot be written.
        if path.encode(errors="ignore").decode() != path:
            raise DataError(f"file name {path!r} is not valid UTF-8. Rename the file.")
        lines.append(f"{path}\t{sample.origin}\n")
    write_text(file, "".join(lines))


def _find_base(paths: Sequence[str], bases: Sequence[Path]) -> Path:
    for path, base in product(paths, bases):
        if os.path.exists(base / path):  # noqa: PTH110 (Path.exists raises on long names)
            return base
    return bases[0] if bases else Path()
