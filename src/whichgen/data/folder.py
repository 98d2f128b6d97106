"""``--data my_images/``: any folder whose sub-folders are origins."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

from whichgen.atomic import write_text
from whichgen.data.benchmarks import load_benchmark, read_benchmark, write_benchmark
from whichgen.data.duplicates import Track, untracked
from whichgen.data.samples import Dataset
from whichgen.data.split import SplitOptions, list_origins, split_folder
from whichgen.errors import DataError
from whichgen.provenance import fingerprint


def open_dataset(
    spec: str,
    options: SplitOptions,
    *,
    cache: Path,
    track: Track = untracked,
) -> Dataset:
    """A data set from a folder of folders or from a data-set string.

    The split of a folder is kept under ``cache/splits`` as annotation files and found again as
    long as neither the files (path, size, time) nor the options have changed.

    Raises
    ------
    DataError
        See :func:`~whichgen.data.split.split_folder` and
        :func:`~whichgen.data.benchmarks.load_benchmark`.
    """
    folder = Path(spec)
    if not folder.is_dir():
        if "/" in spec.partition(":")[0]:
            raise DataError(f"{spec} does not exist. Give a folder with one sub-folder an origin.")
        if options.unknown or options.groups is not None:
            raise DataError(
                f"{spec} has its own unknown origins; --unknown and --groups are for folders."
            )
        return load_benchmark(spec)
    folder = folder.resolve()
    name = folder.name or "images"
    key = _key(folder, options)
    root = cache / "splits" / key
    if not (root / name / "origins.json").is_file():
        dataset = split_folder(folder, options, track=track)
        # The origin list is written last: where it is, all is.
        write_text(root / name / "notes.json", json.dumps(dataset.notes))
        write_benchmark(dataset, root, name)
        return dataset
    kept = read_benchmark(name, root)
    notes = json.loads((root / name / "notes.json").read_text(encoding="utf-8"))
    return replace(kept, name=folder.name, notes=tuple(notes))


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
        with file.open(newline="", encoding="utf-8") as handle:
            delimiter = "," if file.suffix.lower() == ".csv" else "\t"
            rows = list(csv.DictReader(handle, delimiter=delimiter))
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


def _key(folder: Path, options: SplitOptions) -> str:
    parts = [str(folder), repr(options)]
    for paths in list_origins(folder).values():
        for path in paths:
            status = path.stat()
            parts.append(f"{path}\0{status.st_size}\0{status.st_mtime_ns}")
    return fingerprint(parts)
