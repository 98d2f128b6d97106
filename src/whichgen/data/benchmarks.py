"""Load a benchmark from a dataset string such as ``OSMA:split=split3:root=/data``, or write one.

The origins of each public benchmark are listed in a JSON file bundled with whichgen, in the folder
``whichgen/data/origins``. A dataset written by ``whichgen dataset split`` is loaded in the same
way, but its origins are listed in ``<root>/<name>/origins.json``. If its images have groups or
sources (see :mod:`whichgen.data.groups`), the files ``groups.tsv`` and ``sources.tsv`` in the same
folder list those of each image.

A *benchmark split* (``split1``) divides the origins into known and unknown origins. The *splits* of
a dataset (train, val, test, val_unknown, test_unknown) divide its images.
"""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from whichgen.data.annotations import read_annotations, write_annotations
from whichgen.data.dataset import SPLITS, Dataset, Sample
from whichgen.data.groups import read_name_table, write_names
from whichgen.errors import DataError
from whichgen.io.atomic import write_text
from whichgen.io.untrusted_files import read_text_file

#: Folder where the reference implementation looks for data, relative to the working directory.
DEFAULT_ROOT = Path("dataset")

#: File names of unknown images, in order of preference.
_UNKNOWN_FILES = ("{split}_{part}_out_all.txt", "{split}_{part}_out.txt", "{part}_out.txt")

_GROUPS_FILE, _SOURCES_FILE = "groups.tsv", "sources.tsv"


def _check_folder_name(name: str) -> str:
    """Return ``name`` unchanged if it is a valid folder name of at most 200 bytes.

    Lists of origins are untrusted, and a name such as ``..`` would escape the root folder.

    Raises
    ------
    ValueError
        ``name`` is not valid.
    """
    # File names add a few letters to the name of a benchmark split.
    if name in ("", ".", "..") or any(c in name for c in "/\\\0") or len(name.encode()) > 200:
        raise ValueError(f"{name[:80]!r} is not a valid folder name")
    return name


_FolderName = Annotated[str, AfterValidator(_check_folder_name)]


class SplitOrigins(BaseModel):
    """Known and unknown origins of a benchmark split.

    Parameters
    ----------
    known
        Known origins, in the order of their class indices.
    unknown
        Maps the name of each subset of the unknown origins to the origins in it. The subset
        ``all`` contains all unknown origins.
    """

    model_config = ConfigDict(extra="forbid")
    known: tuple[str, ...]
    unknown: dict[str, tuple[str, ...]]


class BenchmarkOrigins(BaseModel):
    """List of origins of a benchmark: content of ``origins.json`` or of a bundled JSON file.

    Parameters
    ----------
    name
        Name of the benchmark.
    folder
        Name of the benchmark's folder in the root folder.
    source
        URL where the benchmark is published; may be empty.
    notes
        Sentences about the dataset that are shown with evaluation results.
    splits
        Maps the name of each benchmark split to its known and unknown origins.
    """

    model_config = ConfigDict(extra="forbid")
    name: _FolderName
    folder: _FolderName
    source: str = ""
    notes: tuple[str, ...] = ()
    splits: Annotated[dict[_FolderName, SplitOrigins], Field(min_length=1)]


def list_benchmarks() -> list[str]:
    """Return the sorted names of the benchmarks whose origins are bundled with whichgen."""
    paths = (files("whichgen.data") / "origins").iterdir()
    return sorted(p.name.removesuffix(".json") for p in paths if p.name.endswith(".json"))


def load_origins(name: str, root: Path) -> BenchmarkOrigins:
    """Read ``root/name/origins.json``; if it does not exist, read the bundled list of origins.

    ``name`` is the name of the benchmark. Upper and lower case are not distinguished in the names
    of bundled lists.

    Raises
    ------
    DataError
        Neither list exists, or the list is not valid.
    """
    file = root / name / "origins.json"
    bundled_names = {n.lower(): n for n in list_benchmarks()}
    if os.path.exists(file):  # noqa: PTH110 (Path.exists raises on long names)
        where, content = str(file), read_text_file(file, "list of origins")
    elif name.lower() in bundled_names:
        where = f"origins/{bundled_names[name.lower()]}.json"
        content = (files("whichgen.data") / where).read_text(encoding="utf-8")
    else:
        raise DataError(
            f"dataset {name!r} is neither a folder nor one of {', '.join(list_benchmarks())}, and "
            f"{file} does not exist. Check the spelling, or set its folder: `{name}:root=FOLDER`."
        )
    try:
        return BenchmarkOrigins.model_validate_json(content)
    except ValidationError as error:
        raise DataError(
            f"{where} is not a valid list of origins: {_summarize(error)}. Fix it."
        ) from None


def _summarize(error: ValidationError) -> str:
    """Format the first three validation errors on one line."""
    lines = [f"{'.'.join(map(str, e['loc']))[:80]}: {e['msg'][:200]}" for e in error.errors()]
    return "; ".join(lines[:3]) + ("; …" if len(lines) > 3 else "")


def parse_spec(spec: str) -> tuple[str, dict[str, str]]:
    """Parse ``NAME:split=SPLIT:root=FOLDER`` into the name and a dictionary of the options.

    Raises
    ------
    DataError
        An option is neither ``split`` nor ``root``, or has no value.
    """
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
    """Load the benchmark that a dataset string specifies (see :func:`read_benchmark`).

    The default of ``root`` is :data:`DEFAULT_ROOT`; the default of ``split`` is the first benchmark
    split.

    Raises
    ------
    DataError
        ``spec`` is a path or another invalid dataset string, or the benchmark can't be read.
    """
    if "/" in spec.partition(":")[0]:
        raise DataError(
            f"folder {spec} does not exist. Specify a folder with one subfolder per origin."
        )
    name, options = parse_spec(spec)
    return read_benchmark(name, Path(options.get("root", DEFAULT_ROOT)), options.get("split"))


def read_benchmark(name: str, root: Path, split: str | None = None) -> Dataset:
    """Read the list of origins, the annotation files and the groups of a benchmark.

    The annotation file of the training set is
    ``<root>/<folder>/<split>_train/annotations/<split>_train.txt``. Those of the validation and
    test sets have ``val`` and ``test`` in place of ``train``. The images of unknown origins are
    listed in ``<split>_val_out_all.txt`` and ``<split>_test_out_all.txt`` in the same folders. If
    such a file does not exist, ``<split>_val_out.txt`` or else ``val_out.txt`` is read (``test``
    likewise).

    Parameters
    ----------
    name
        Name of the benchmark.
    root
        Parent folder of the benchmark's folder, or the benchmark's folder itself.
    split
        Name of the benchmark split; the first one if ``None``.

    Raises
    ------
    DataError
        The benchmark or the split does not exist; a file is invalid; an annotation file of known
        origins is missing; or the dataset is invalid (:meth:`Dataset.validate`). If an annotation
        file of unknown origins is missing, ``Dataset.notes`` reports it and no error is raised.
    """
    lists = load_origins(name, root)
    split = split or next(iter(lists.splits))
    if split not in lists.splits:
        raise DataError(
            f"{lists.name} has no split {split!r}. Choose from {', '.join(lists.splits)}."
        )
    origins = lists.splits[split]
    unknown = tuple(dict.fromkeys(o for group in origins.unknown.values() for o in group))
    folder = root / lists.folder
    if not folder.is_dir() and (root / f"{split}_train").is_dir():
        folder = root
    notes = list(lists.notes)

    def read_part(name: str) -> tuple[Sample, ...]:
        part = name.removesuffix("_unknown")
        annotations = folder / f"{split}_{part}" / "annotations"
        labels, first_index = origins.known, 0
        file: Path | None = annotations / f"{split}_{part}.txt"
        if name != part:
            labels, first_index = unknown, len(origins.known)
            files = [annotations / n.format(split=split, part=part) for n in _UNKNOWN_FILES]
            file = next(filter(Path.is_file, files), None)
        if file is None:
            notes.append(f"no annotation file for unknown {part} images in {annotations}")
            return ()
        bases = (Path(), folder, root, root.parent, annotations)
        return read_annotations(file, labels, bases=bases, first_index=first_index)

    splits = {name: read_part(name) for name in SPLITS}
    images = [str(sample.path) for samples in splits.values() for sample in samples]
    for column, table in (("group", folder / _GROUPS_FILE), ("source", folder / _SOURCES_FILE)):
        if not table.is_file():
            continue
        names = read_name_table(table, column, images)
        if names.unmatched:
            notes.append(f"{table}: {len(names.unmatched)} rows match no image")
        splits = {
            name: tuple(_set_name(s, column, names.names.get(str(s.path), "")) for s in samples)
            for name, samples in splits.items()
        }
    return Dataset(
        name=f"{lists.name}:split={split}",
        known=origins.known,
        unknown=unknown,
        unknown_groups={k: v for k, v in origins.unknown.items() if k != "all"},
        notes=tuple(notes),
        **splits,  # type: ignore[arg-type]
    ).validate()


def _set_name(sample: Sample, field: str, name: str) -> Sample:
    return replace(sample, group=name) if field == "group" else replace(sample, source=name)


def write_benchmark(dataset: Dataset, root: Path, name: str, split: str = "split1") -> Path:
    """Write a dataset as annotation files and ``origins.json``.

    If it has groups or sources, they are written to ``groups.tsv`` and ``sources.tsv``; otherwise,
    these files are deleted if they exist.

    Parameters
    ----------
    root
        Folder in which the folder ``name`` is created.
    name
        Name of the dataset and of its folder.
    split
        Name of the benchmark split.

    Returns
    -------
    Path
        The folder of the dataset, ``root / name``.

    Raises
    ------
    DataError
        ``name`` or ``split`` is not a valid folder name, or an image path can't be written (see
        :func:`~whichgen.data.annotations.write_annotations`).
    """
    unknown = {"all": dataset.unknown, **dataset.unknown_groups}
    splits = {split: SplitOrigins(known=dataset.known, unknown=unknown)}
    try:
        lists = BenchmarkOrigins(name=name, folder=name, notes=dataset.notes, splits=splits)
    except ValidationError as error:
        raise DataError(f"invalid dataset name: {_summarize(error)}. Choose another.") from None
    folder = root / name
    samples = [s for part in SPLITS for s in dataset.split(part)]
    for column, file in (("group", folder / _GROUPS_FILE), ("source", folder / _SOURCES_FILE)):
        names = {str(s.path.absolute()): getattr(s, column) for s in samples}
        if any(names.values()):
            write_names(file, column, names)
        else:
            file.unlink(missing_ok=True)
    for part in SPLITS:
        base = part.removesuffix("_unknown")
        suffix = "_out_all" if part.endswith("_unknown") else ""
        annotations = folder / f"{split}_{base}" / "annotations"
        write_annotations(annotations / f"{split}_{base}{suffix}.txt", dataset.split(part))
    write_text(folder / "origins.json", lists.model_dump_json(indent=1) + "\n")
    return folder
