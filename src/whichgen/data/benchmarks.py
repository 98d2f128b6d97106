"""Benchmarks of the field, named by a dataset string.

``GenImage:split=split1``, ``OSMA:split=split3:root=/data``, ``DiffusionForensics``. The lists of
origins are the JSON files in ``origins/``. A dataset written by ``whichgen dataset split`` has its
own list (``<root>/<name>/origins.json``) and is named in the same way; ``groups.tsv`` beside it
holds the groups of its images, if any.

A *benchmark split* (``split1``) says which origins are known; the *splits* of a dataset are train,
val, test and so on.
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
from whichgen.data.groups import read_groups, write_groups
from whichgen.errors import DataError
from whichgen.io.atomic import write_text
from whichgen.io.files import read_text_file

#: Folder where the reference implementation looks for data, relative to the working directory.
DEFAULT_ROOT = Path("dataset")

#: File names of unknown images, in order of preference.
_UNKNOWN_FILES = ("{split}_{part}_out_all.txt", "{split}_{part}_out.txt", "{part}_out.txt")

_GROUPS_FILE = "groups.tsv"


def _check_folder_name(name: str) -> str:
    """Reject names that would lead out of the root folder: origin lists are untrusted."""
    # File names add a few letters to the name of a benchmark split.
    if name in ("", ".", "..") or any(c in name for c in "/\\\0") or len(name.encode()) > 200:
        raise ValueError(f"{name[:80]!r} can't be the name of a folder in another")
    return name


_FolderName = Annotated[str, AfterValidator(_check_folder_name)]


class SplitOrigins(BaseModel):
    """Known origins, and unknown origins by group; the group ``all`` holds all unknown origins."""

    model_config = ConfigDict(extra="forbid")
    known: tuple[str, ...]
    unknown: dict[str, tuple[str, ...]]


class BenchmarkOrigins(BaseModel):
    """The content of a list of origins: a benchmark and its splits."""

    model_config = ConfigDict(extra="forbid")
    name: _FolderName
    folder: _FolderName
    source: str = ""
    notes: tuple[str, ...] = ()
    splits: Annotated[dict[_FolderName, SplitOrigins], Field(min_length=1)]


def benchmark_names() -> list[str]:
    """Return the names of the benchmarks that ship with whichgen."""
    paths = (files("whichgen.data") / "origins").iterdir()
    return sorted(p.name.removesuffix(".json") for p in paths if p.name.endswith(".json"))


def load_origins(name: str, root: Path) -> BenchmarkOrigins:
    """Load the origins of a benchmark, or of a dataset that ``dataset split`` wrote to ``root``."""
    file = root / name / "origins.json"
    bundled_names = {n.lower(): n for n in benchmark_names()}
    if os.path.exists(file):  # noqa: PTH110 (Path.exists raises on long names)
        where, content = str(file), read_text_file(file, "list of origins")
    elif name.lower() in bundled_names:
        where = f"origins/{bundled_names[name.lower()]}.json"
        content = (files("whichgen.data") / where).read_text(encoding="utf-8")
    else:
        raise DataError(
            f"dataset {name!r} is neither a folder nor one of {', '.join(benchmark_names())}, and "
            f"{file} does not exist. Check the spelling, or name its folder with `{name}:root=…`."
        )
    try:
        return BenchmarkOrigins.model_validate_json(content)
    except ValidationError as error:
        raise DataError(f"{where} is not a list of origins: {_summarize(error)}") from None


def _summarize(error: ValidationError) -> str:
    """Return the first three validation errors in one line."""
    lines = [f"{'.'.join(map(str, e['loc']))[:80]}: {e['msg'][:200]}" for e in error.errors()]
    return "; ".join(lines[:3]) + ("; …" if len(lines) > 3 else "")


def parse_spec(spec: str) -> tuple[str, dict[str, str]]:
    """Parse a dataset string: its name, and its options ``split`` and ``root``."""
    name, *options = spec.split(":")
    values = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or key not in ("split", "root") or not value:
            raise DataError(
                f"dataset string {spec!r}: can't parse {option!r}. "
                "Write GenImage:split=split1 or GenImage:split=split1:root=/data."
            )
        values[key] = value
    return name, values


def load_benchmark(spec: str) -> Dataset:
    """Load the dataset that a dataset string names (see :func:`read_benchmark`)."""
    if "/" in spec.partition(":")[0]:
        raise DataError(f"{spec} does not exist. Give a folder with one subfolder per origin.")
    name, options = parse_spec(spec)
    return read_benchmark(name, Path(options.get("root", DEFAULT_ROOT)), options.get("split"))


def read_benchmark(name: str, root: Path, split: str | None = None) -> Dataset:
    """Read the annotation files of a benchmark.

    The layout is ``<root>/<folder>/<split>_train/annotations/<split>_train.txt``, likewise
    ``_val`` and ``_test``, with ``…_out_all.txt`` beside the last two for unknown images.

    Parameters
    ----------
    name
        Name of the benchmark.
    root
        Folder that contains its folder.
    split
        Name of the benchmark split; ``None`` for the first.

    Raises
    ------
    DataError
        A file is missing or invalid. A missing file of unknown images is noted instead.
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
    groups_file = folder / _GROUPS_FILE
    groups = read_groups(groups_file) if groups_file.is_file() else {}
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
            notes.append(f"no annotation file of unknown {part} images in {annotations}")
            return ()
        bases = (Path(), folder, root, root.parent, annotations)
        samples = read_annotations(file, labels, bases=bases, first_index=first_index)
        return tuple(replace(s, group=groups.get(str(s.path), "")) for s in samples)

    splits = {name: read_part(name) for name in SPLITS}
    return Dataset(
        name=f"{lists.name}:split={split}",
        known=origins.known,
        unknown=unknown,
        unknown_groups={k: v for k, v in origins.unknown.items() if k != "all"},
        notes=tuple(notes),
        **splits,  # type: ignore[arg-type]
    ).validate()


def write_benchmark(dataset: Dataset, root: Path, name: str, split: str = "split1") -> Path:
    """Write a dataset as annotation files, with ``origins.json`` and the groups of its images.

    Returns
    -------
    Path
        The folder of the dataset, ``root / name``.

    Raises
    ------
    DataError
        ``name`` or ``split`` is not a valid folder name.
    """
    unknown = {"all": dataset.unknown, **dataset.unknown_groups}
    splits = {split: SplitOrigins(known=dataset.known, unknown=unknown)}
    try:
        lists = BenchmarkOrigins(name=name, folder=name, notes=dataset.notes, splits=splits)
    except ValidationError as error:
        raise DataError(f"invalid dataset name: {_summarize(error)}") from None
    folder = root / name
    groups = {str(s.path.absolute()): s.group for part in SPLITS for s in dataset.split(part)}
    if any(groups.values()):
        write_groups(folder / _GROUPS_FILE, groups)
    else:
        (folder / _GROUPS_FILE).unlink(missing_ok=True)
    for part in SPLITS:
        base = part.removesuffix("_unknown")
        suffix = "_out_all" if part.endswith("_unknown") else ""
        annotations = folder / f"{split}_{base}" / "annotations"
        write_annotations(annotations / f"{split}_{base}{suffix}.txt", dataset.split(part))
    write_text(folder / "origins.json", lists.model_dump_json(indent=1) + "\n")
    return folder
