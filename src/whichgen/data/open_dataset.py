"""Open a dataset from a folder with one subfolder per origin or from a dataset string."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from whichgen.data.benchmarks.benchmark_files import load_benchmark, read_benchmark, write_benchmark
from whichgen.data.dataset import SPLITS, Dataset, Sample, list_images
from whichgen.data.images.image_reader import ImageReader
from whichgen.data.layouts.folder_layout import read_layout, warn_about_layout
from whichgen.data.splits.split_images import split_folder
from whichgen.data.splits.split_options import SplitOptions
from whichgen.errors import DataError
from whichgen.io.atomic_writes import is_permission_error
from whichgen.io.run_metadata import hash_parts
from whichgen.option_names import name_option
from whichgen.progress import Progress, no_progress


def open_dataset(
    spec: str,
    options: SplitOptions | None = None,
    *,
    groups: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
    cache: Path,
    reader: ImageReader | None = None,
    progress: Progress = no_progress,
) -> Dataset:
    """Open a dataset from a folder or a dataset string.

    The images of a folder are divided into splits (see
    :func:`~whichgen.data.splits.split_images.split_folder`). The splits are cached in
    ``cache/splits`` as annotation files, and reused until the path, size or modification time of an
    image file, the options, the groups or the sources change.

    Parameters
    ----------
    spec
        Folder with one subfolder per origin, or dataset string
        (:mod:`whichgen.data.benchmarks.benchmark_files`).
    options
        Options for splitting a folder; the defaults of
        :class:`~whichgen.data.splits.split_options.SplitOptions` if ``None``.
    groups, sources
        Map image paths to groups and to sources (see
        :func:`~whichgen.data.splits.split_images.split_folder`).
    cache
        Cache folder. If it is read-only, new splits are not cached.
    reader
        Reads the images to split a folder; by default, a reader with the same cache.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    Dataset
        The validated dataset.

    Raises
    ------
    DataError
        The dataset or an option is invalid (see
        :func:`~whichgen.data.splits.split_images.split_folder` and
        :func:`~whichgen.data.benchmarks.benchmark_files.load_benchmark`), or ``spec`` is a dataset
        string and ``options.unknown``, ``options.real``, ``groups`` or ``sources`` is set.
    StoreError
        The facts about the images can't be read from the cache or written to it.
    OSError
        The splits can't be written to the cache, for example because the disk is full.

    Warns
    -----
    WhichgenWarning
        Files are skipped, or the stored facts about images are damaged
        (:class:`~whichgen.data.images.image_reader.ImageReader`).
    """
    folder, options = Path(spec), options or SplitOptions()
    if not os.path.isdir(folder):  # noqa: PTH112 (Path.is_dir raises on long names)
        dataset = load_benchmark(spec)
        folder_options = {
            name_option("--unknown"): options.unknown or None,
            name_option("--groups"): groups,
            name_option("--sources"): sources,
            name_option("--real"): options.real or None,
        }
        if names := [name for name, value in folder_options.items() if value is not None]:
            raise DataError(
                f"the options for image folders do not apply to {spec}. Remove {', '.join(names)}."
            )
        return dataset
    folder = folder.resolve()
    name = folder.name or "images"
    root = cache / "splits" / _hash_folder(folder, options, groups, sources)
    if (root / name / "origins.json").is_file():
        return replace(read_benchmark(name, root), name=folder.name)
    reader = reader or ImageReader(cache)
    dataset = split_folder(
        folder, options, groups=groups, sources=sources, reader=reader, progress=progress
    )
    try:
        # write_benchmark writes origins.json last: if this file exists, all other files exist.
        write_benchmark(dataset, root, name)
    except OSError as error:
        # A read-only cache is not an error, because it may contain the features of all images.
        if not is_permission_error(error):
            raise
    return dataset


def list_samples(spec: str, real: Collection[str] = ()) -> tuple[Sample, ...]:
    """Return all images of a folder and its subfolders, or of all splits of a benchmark.

    Parameters
    ----------
    spec
        Path of a folder, or dataset string.
    real
        Names of folders of photographs
        (:func:`~whichgen.data.layouts.folder_layout.read_layout`); ignored for a benchmark, and if
        no subfolder contains images.

    Returns
    -------
    tuple of Sample
        The images and their origins: those of a folder in natural order of their paths, those of a
        benchmark in the order of :data:`~whichgen.data.dataset.SPLITS`. The origin of an image
        directly in the folder is empty.

    Raises
    ------
    DataError
        ``spec`` is neither a folder nor the dataset string of a valid benchmark
        (:func:`~whichgen.data.benchmarks.benchmark_files.load_benchmark`), or the origins of the
        folder can't be determined (:func:`~whichgen.data.layouts.folder_layout.read_layout`).

    Warns
    -----
    WhichgenWarning
        Files are skipped, or the origins may be wrong
        (:func:`~whichgen.data.layouts.folder_layout.warn_about_layout`).
    """
    folder = Path(spec)
    if not os.path.isdir(folder):  # noqa: PTH112 (Path.is_dir raises on long names)
        dataset = load_benchmark(spec)
        return tuple(sample for name in SPLITS for sample in dataset.split(name))
    folder = folder.resolve()
    paths = list_images(folder)
    origins = {}
    if any(path.parent != folder for path in paths):
        layout = read_layout(folder, real)
        warn_about_layout(layout)
        origins = {path: origin for origin, images in layout.origins.items() for path in images}
    return tuple(Sample(path, origins.get(path, "")) for path in paths)


def _hash_folder(
    folder: Path,
    options: SplitOptions,
    groups: Mapping[str, str] | None,
    sources: Mapping[str, str] | None,
) -> str:
    """Return a digest of the images of a folder, the options, the groups and the sources.

    Each image is represented by its path, size and modification time.
    """
    parts = [str(folder), repr(options), repr(groups)]
    if sources is not None:
        parts.append(repr(sources))
    for paths in read_layout(folder, options.real).origins.values():
        for path in paths:
            status = path.stat()
            parts.append(f"{path}\0{status.st_size}\0{status.st_mtime_ns}")
    return hash_parts(parts)
