"""``--data my_images/``: any folder whose sub-folders are origins."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from whichgen.data.benchmarks import load_benchmark, read_benchmark, write_benchmark
from whichgen.data.dataset import SPLITS, Dataset, Sample, list_images
from whichgen.data.splits import SplitOptions, list_origins, split_folder
from whichgen.errors import DataError
from whichgen.io.atomic import is_permission_error, write_text
from whichgen.io.run_metadata import hash_parts
from whichgen.progress import Progress, no_progress

#: Changed when more is kept of a split than before, so that what lacks it is not found.
_LAYOUT = "groups"


def open_dataset(
    spec: str,
    options: SplitOptions,
    *,
    cache: Path,
    progress: Progress = no_progress,
) -> Dataset:
    """A data set from a folder of folders or from a data-set string.

    The split of a folder is kept under ``cache/splits`` as annotation files and found again as
    long as neither the files (path, size, time) nor the options have changed.

    Raises
    ------
    DataError
        See :func:`~whichgen.data.splits.split_folder` and
        :func:`~whichgen.data.benchmarks.load_benchmark`.
    """
    folder = Path(spec)
    if not os.path.isdir(folder):  # noqa: PTH112 (Path's raises if a name is too long)
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
        dataset = split_folder(folder, options, progress=progress)
        try:
            # The origin list is written last: where it is, all is.
            write_text(root / name / "notes.json", json.dumps(dataset.notes))
            write_benchmark(dataset, root, name)
        except OSError as error:
            # A cache that is there to read only keeps no split, and may have all features.
            if not is_permission_error(error):
                raise
        return dataset
    kept = read_benchmark(name, root)
    notes = json.loads((root / name / "notes.json").read_text(encoding="utf-8"))
    return replace(kept, name=folder.name, notes=tuple(notes))


def list_samples(spec: str) -> tuple[Sample, ...]:
    """All images below a folder, or of all parts of a data-set string, with their origins.

    An image's origin is the folder's sub-folder that it lies in; empty if it lies in none.

    Raises
    ------
    DataError
        There is no such folder, or see :func:`~whichgen.data.benchmarks.load_benchmark`.
    """
    folder = Path(spec)
    if folder.is_dir():
        folder = folder.resolve()
        parts = ((path, path.relative_to(folder).parts) for path in list_images(folder))
        return tuple(Sample(path, part[0] if len(part) > 1 else "") for path, part in parts)
    if "/" in spec.partition(":")[0]:
        raise DataError(f"{spec} does not exist. Give a folder of images.")
    dataset = load_benchmark(spec)
    return tuple(sample for part in SPLITS for sample in dataset.split(part))


def _key(folder: Path, options: SplitOptions) -> str:
    parts = [_LAYOUT, str(folder), repr(options)]
    for paths in list_origins(folder).values():
        for path in paths:
            status = path.stat()
            parts.append(f"{path}\0{status.st_size}\0{status.st_mtime_ns}")
    return hash_parts(parts)
