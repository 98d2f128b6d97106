"""Read the benchmark that a dataset string specifies, and write datasets as benchmarks.

A dataset string is the name of a benchmark with options, such as ``OSMA:split=split3:root=/data``.

The origins of each public benchmark are listed in a JSON file bundled with whichgen
(:mod:`whichgen.data.benchmarks.origin_lists`). A dataset that ``whichgen dataset split`` or
``whichgen dataset prepare`` has written is loaded in the same way, but its origins are listed in
``<root>/<name>/origins.json``. If the images have groups or sources (see
:mod:`whichgen.data.tables.groups_and_sources`), these are listed in the files ``groups.tsv`` and
``sources.tsv`` in the same folder.

A *benchmark split* (``split1``) divides the origins into known and unknown origins. The *splits* of
a dataset (train, val, test, val_unknown, test_unknown) divide its images.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from whichgen.data.benchmarks.origin_lists import (
    UNKNOWN_FILES,
    BenchmarkOrigins,
    SplitOrigins,
    UnknownFile,
    load_origins,
    summarize_errors,
)
from whichgen.data.dataset import SPLITS, Dataset, Sample
from whichgen.data.tables.annotations import read_annotations, write_annotations
from whichgen.data.tables.groups_and_sources import read_name_table, write_names
from whichgen.errors import DataError
from whichgen.io.atomic_writes import write_text
from whichgen.phrases import format_count

#: Default root folder, relative to the working directory, as in the reference implementation.
DEFAULT_ROOT = Path("dataset")

_GROUPS_FILE, _SOURCES_FILE = "groups.tsv", "sources.tsv"


def parse_spec(spec: str) -> tuple[str, dict[str, str]]:
    """Parse ``NAME:split=SPLIT:root=FOLDER`` into the name and a dictionary of the options.

    Raises
    ------
    DataError
        An option is neither ``split`` nor ``root``, or has no value, or ``spec`` is a URL.
    """
    if re.match(r"\w{2,}://", spec):
        raise DataError(f"{spec} is a URL. Download the dataset first, and specify its folder.")
    name, *options = spec.split(":")
    values = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or key not in ("split", "root") or not value:
            raise DataError(
                f"dataset string {spec!r}: invalid option {option!r}. Use split=NAME or "
                "root=FOLDER, as in GenImage:split=split1:root=/data."
            )
        values[key] = value
    return name, values


def load_benchmark(spec: str) -> Dataset:
    """Read the dataset that a dataset string specifies (see :func:`read_benchmark`).

    Parameters
    ----------
    spec
        Dataset string ``NAME:split=SPLIT:root=FOLDER``. Without ``root``, the root folder
        is :data:`DEFAULT_ROOT`; without ``split``, the split is the first one of the benchmark.

    Raises
    ------
    DataError
        ``spec`` contains a slash before the first colon or is otherwise not a valid dataset string
        (:func:`parse_spec`), or the benchmark can't be read (:func:`read_benchmark`).
    """
    if "/" in spec.partition(":")[0]:
        exists = os.path.exists(spec)  # noqa: PTH110 (Path.exists raises on long names)
        problem = "is not a folder" if exists else "does not exist"
        raise DataError(
            f"{spec} {problem}. Specify a folder of images, or a dataset string such as "
            "GenImage:split=split1:root=/data."
        )
    name, options = parse_spec(spec)
    return read_benchmark(name, Path(options.get("root", DEFAULT_ROOT)), options.get("split"))


def read_benchmark(name: str, root: Path, split: str | None = None) -> Dataset:
    """Read the dataset of a benchmark split, with the groups and sources of the images.

    The annotation file of the training set is
    ``<root>/<folder>/<split>_train/annotations/<split>_train.txt``. In the paths of the validation
    and test sets, ``val`` and ``test`` replace ``train``. Images of unknown origins are listed in
    ``<split>_val_out_all.txt`` and ``<split>_test_out_all.txt`` in the same folders. If the first
    file does not exist, ``<split>_val_out.txt`` or else ``val_out.txt`` is read. The same applies
    to the second file, with ``test`` instead of ``val``.

    If the benchmark's folder contains ``groups.tsv`` or ``sources.tsv``, the groups or sources are
    read from this file. ``Dataset.notes`` reports the number of rows without an image.

    Parameters
    ----------
    name
        Name of the benchmark; the names of bundled benchmarks are case-insensitive.
    root
        Parent folder of the benchmark's folder. For a benchmark with a bundled list of origins, it
        can also be the benchmark's folder itself.
    split
        Name of the benchmark split; the first one if ``None``.

    Raises
    ------
    DataError
        The benchmark or the split does not exist; a file is invalid; an annotation file of known
        origins is missing; or the dataset is invalid (:meth:`Dataset.validate`). If an annotation
        file of unknown origins is missing, ``Dataset.notes`` reports it and no error is raised.
    """
    benchmark = load_origins(name, root)
    split = split or next(iter(benchmark.splits))
    if split not in benchmark.splits:
        raise DataError(
            f"{benchmark.name} has no split {split!r}. Choose from {', '.join(benchmark.splits)}."
        )
    origins = benchmark.splits[split]
    unknown = tuple(dict.fromkeys(o for group in origins.unknown.values() for o in group))
    folder = root / benchmark.folder
    if not (folder / f"{split}_train").is_dir() and (root / f"{split}_train").is_dir():
        folder = root
    notes = list(benchmark.notes)

    def read_part(name: str) -> tuple[Sample, ...]:
        part = name.removesuffix("_unknown")
        annotations = folder / f"{split}_{part}" / "annotations"
        labels, first_index = origins.known, 0
        file: Path | None = annotations / f"{split}_{part}.txt"
        if name != part:
            labels, first_index = unknown, len(origins.known)
            files = [annotations / n.format(split=split, part=part) for n in UNKNOWN_FILES]
            file = next(filter(Path.is_file, files), None)
        if file is None:
            notes.append(f"no annotation file for unknown {part} images in {annotations}")
            return ()
        bases = (Path(), folder, root, root.parent, annotations)
        return read_annotations(
            file, labels, bases=bases, first_index=first_index, indices=benchmark.indices
        )

    splits = {name: read_part(name) for name in SPLITS}
    images = [str(sample.path) for samples in splits.values() for sample in samples]
    for column, table in (("group", folder / _GROUPS_FILE), ("source", folder / _SOURCES_FILE)):
        if not table.is_file():
            continue
        name_table = read_name_table(table, column, images)
        if unmatched_rows := name_table.unmatched_rows:
            notes.append(f"{table}: {format_count(len(unmatched_rows), 'row')} without an image")
        splits = {
            split_name: tuple(
                _set_name(sample, column, name_table.names.get(str(sample.path), ""))
                for sample in samples
            )
            for split_name, samples in splits.items()
        }
    return Dataset(
        name=f"{benchmark.name}:split={split}",
        known=origins.known,
        unknown=unknown,
        unknown_groups={k: v for k, v in origins.unknown.items() if k != "all"},
        notes=tuple(notes),
        **splits,  # type: ignore[arg-type]
    ).validate()


def _set_name(sample: Sample, field: str, name: str) -> Sample:
    """Return a copy of a sample with another name in ``field``: ``group`` or ``source``."""
    return replace(sample, group=name) if field == "group" else replace(sample, source=name)


def write_benchmark(dataset: Dataset, root: Path, name: str, split: str = "split1") -> Path:
    """Write a dataset as a benchmark with one split, and return the folder of the benchmark.

    See :func:`write_splits` for the files and the exceptions.

    Parameters
    ----------
    dataset
        The dataset.
    root
        Folder in which the folder ``name`` is created.
    name
        Name of the benchmark and of its folder.
    split
        Name of the benchmark split.
    """
    return write_splits({split: dataset}, root, name)


def write_splits(
    datasets: Mapping[str, Dataset],
    root: Path,
    name: str,
    *,
    unknown_file: UnknownFile = UNKNOWN_FILES[0],
) -> Path:
    """Write the splits of a benchmark as annotation files and ``origins.json``.

    The annotation files have the format of the reference implementation. Their labels are indices;
    known origins have the lowest indices. Each subset of unknown origins also has an annotation
    file of its own. Groups and sources are written to ``groups.tsv`` and ``sources.tsv``. If no
    image has a group, an existing file ``groups.tsv`` is deleted; the same applies to sources.
    Existing files of unknown images with another name in
    :data:`~whichgen.data.benchmarks.origin_lists.UNKNOWN_FILES` are deleted, too.

    Parameters
    ----------
    datasets
        Maps the name of each benchmark split, at least one, to its dataset.
    root
        Folder in which the folder ``name`` is created.
    name
        Name of the benchmark and of its folder.
    unknown_file
        Name of the annotation files of all unknown images, one of
        :data:`~whichgen.data.benchmarks.origin_lists.UNKNOWN_FILES`.

    Returns
    -------
    Path
        The folder of the benchmark, ``root / name``.

    Raises
    ------
    DataError
        ``name`` or the name of a split is not a valid folder name.
    OSError
        A file can't be written.
    """
    try:
        benchmark = BenchmarkOrigins(
            name=name,
            folder=name,
            notes=tuple(dict.fromkeys(n for dataset in datasets.values() for n in dataset.notes)),
            indices=True,
            splits={
                split: SplitOrigins(
                    known=dataset.known, unknown={"all": dataset.unknown, **dataset.unknown_groups}
                )
                for split, dataset in datasets.items()
            },
        )
    except ValidationError as error:
        raise DataError(
            f"invalid name of a dataset or split: {summarize_errors(error)}. Choose another name."
        ) from None
    folder = root / name
    samples = [s for dataset in datasets.values() for part in SPLITS for s in dataset.split(part)]
    for column, file in (("group", folder / _GROUPS_FILE), ("source", folder / _SOURCES_FILE)):
        names = {str(s.path.absolute()): getattr(s, column) for s in samples}
        if any(names.values()):
            write_names(file, column, names)
        else:
            file.unlink(missing_ok=True)
    for split, dataset in datasets.items():
        _write_split(folder, split, dataset, unknown_file)
    write_text(
        folder / "origins.json", benchmark.model_dump_json(indent=1, exclude_defaults=True) + "\n"
    )
    return folder


def _write_split(folder: Path, split: str, dataset: Dataset, unknown_file: UnknownFile) -> None:
    labels = {origin: i for i, origin in enumerate((*dataset.known, *dataset.unknown))}
    for part in ("train", "val", "test"):
        annotations = folder / f"{split}_{part}" / "annotations"
        write_annotations(annotations / f"{split}_{part}.txt", dataset.split(part), labels)
        if part == "train":
            continue
        samples = dataset.split(f"{part}_unknown")
        for name in UNKNOWN_FILES:
            file = annotations / name.format(split=split, part=part)
            if name == unknown_file:
                write_annotations(file, samples, labels)
            else:
                # An outdated file of this name could be read instead of the new one.
                file.unlink(missing_ok=True)
        for group, origins in dataset.unknown_groups.items():
            file = annotations / f"{split}_{part}_out_{group}.txt"
            write_annotations(file, [s for s in samples if s.origin in origins], labels)
