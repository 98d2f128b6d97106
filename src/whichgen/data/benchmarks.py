"""The benchmarks of the field, by the data-set string their users know.

``GenImage:split=split1``, ``OSMA:split=split3:root=/data``, ``DiffusionForensics``. Origin lists
are the JSON files in ``origins/``. A data set that ``whichgen dataset split`` wrote has such a file
of its own (``<root>/<name>/origins.json``), so that it is named in the same way, and
``groups.tsv`` beside it where its images have groups.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
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
from whichgen.io.untrusted import read_regular_file

#: Where the first implementation looks for data, relative to the working directory.
DEFAULT_ROOT = Path("dataset")

# The names under which the file of unknown images is found, in order of preference.
_UNKNOWN_FILES = ("{split}_{part}_out_all.txt", "{split}_{part}_out.txt", "{part}_out.txt")


_GROUPS_FILE = "groups.tsv"

#: Bytes of an origin list at most.
_MOST_BYTES = 2**24


def _of_one_level(name: str) -> str:
    """A name that is part of a path, so that a stranger's list leads nowhere but into its root."""
    # Files in it are called after a split, with a few letters more.
    if name in ("", ".", "..") or any(c in name for c in "/\\\0") or len(name.encode()) > 200:
        raise ValueError(f"{name[:80]!r} can't be the name of a folder in another")
    return name


_FolderName = Annotated[str, AfterValidator(_of_one_level)]


class SplitOrigins(BaseModel):
    """Known origins, and unknown ones by group; the group ``all`` holds every unknown origin."""

    model_config = ConfigDict(extra="forbid")
    known: tuple[str, ...]
    unknown: dict[str, tuple[str, ...]]


class BenchmarkOrigins(BaseModel):
    """One origin-list file: a benchmark and its splits."""

    model_config = ConfigDict(extra="forbid")
    name: _FolderName
    folder: _FolderName
    source: str = ""
    splits: Annotated[dict[_FolderName, SplitOrigins], Field(min_length=1)]


def benchmark_names() -> list[str]:
    """The names of the benchmarks that ship with whichgen."""
    found = (files("whichgen.data") / "origins").iterdir()
    return sorted(f.name.removesuffix(".json") for f in found if f.name.endswith(".json"))


def load_origins(name: str, root: Path) -> BenchmarkOrigins:
    """The origin lists of a benchmark, or of what ``dataset split`` wrote in ``root``."""
    own = root / name / "origins.json"
    shipped = {n.lower(): n for n in benchmark_names()}
    content: str | bytes
    if os.path.exists(own):  # noqa: PTH110 (Path's raises if a name is too long)
        where = str(own)
        try:
            content = read_regular_file(own, _MOST_BYTES)
        except OSError as error:
            raise DataError(f"origin list {own} can't be read ({error.strerror}).") from None
    elif name.lower() in shipped:
        where = f"origins/{shipped[name.lower()]}.json"
        content = (files("whichgen.data") / where).read_text(encoding="utf-8")
    else:
        raise DataError(
            f"data set {name!r} is neither a folder, nor one of {', '.join(benchmark_names())}, "
            f"nor does {own} exist. Check the spelling, or give its folder with `{name}:root=…`."
        )
    try:
        return BenchmarkOrigins.model_validate_json(content)
    except ValidationError as error:
        raise DataError(f"{where} is not an origin list: {_wrong(error)}") from None


def _wrong(error: ValidationError) -> str:
    """The first few things that are wrong, in one line."""
    told = [f"{'.'.join(map(str, e['loc']))[:80]}: {e['msg'][:200]}" for e in error.errors()]
    return "; ".join(told[:3]) + ("; …" if len(told) > 3 else "")


def parse_spec(spec: str) -> tuple[str, dict[str, str]]:
    """``"GenImage:split=split1:root=/d"`` → ``("GenImage", {"split": "split1", "root": "/d"})``."""
    name, *options = spec.split(":")
    parsed = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or key not in ("split", "root") or not value:
            raise DataError(
                f"data-set string {spec!r}: can't read {option!r}. "
                "It looks like GenImage:split=split1 or GenImage:split=split1:root=/data."
            )
        parsed[key] = value
    return name, parsed


def load_benchmark(spec: str) -> Dataset:
    """Reads the annotation files that a data-set string names.

    The layout is ``<root>/<folder>/<split>_train/annotations/<split>_train.txt`` and likewise
    ``_val`` and ``_test``, with ``…_out_all.txt`` beside the last two for unknown images. A
    missing file of unknown images is noted, not an error; any other missing file is.
    """
    name, options = parse_spec(spec)
    return read_benchmark(name, Path(options.get("root", DEFAULT_ROOT)), options.get("split"))


def read_benchmark(name: str, root: Path, split: str | None = None) -> Dataset:
    """What :func:`load_benchmark` does; ``split`` is the first one where none is given."""
    lists = load_origins(name, root)
    split = split or next(iter(lists.splits))
    if split not in lists.splits:
        raise DataError(f"{lists.name} has no split {split!r}; it has {', '.join(lists.splits)}.")
    origins = lists.splits[split]
    unknown = tuple(dict.fromkeys(o for group in origins.unknown.values() for o in group))
    folder = root / lists.folder
    if not folder.is_dir() and (root / f"{split}_train").is_dir():
        folder = root
    bases = (Path(), folder, root, root.parent)
    notes: list[str] = []

    def known_part(part: str) -> tuple[Sample, ...]:
        annotations = folder / f"{split}_{part}" / "annotations"
        return read_annotations(
            annotations / f"{split}_{part}.txt", origins.known, bases=(*bases, annotations)
        )

    def unknown_part(part: str) -> tuple[Sample, ...]:
        annotations = folder / f"{split}_{part}" / "annotations"
        for pattern in _UNKNOWN_FILES:
            file = annotations / pattern.format(split=split, part=part)
            if file.is_file():
                return read_annotations(
                    file, unknown, bases=(*bases, annotations), first_index=len(origins.known)
                )
        notes.append(f"no annotation file of unknown {part} images in {annotations}")
        return ()

    groups_file = folder / _GROUPS_FILE
    groups = read_groups(groups_file) if groups_file.is_file() else {}

    def grouped(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        return tuple(replace(s, group=groups.get(str(s.path), "")) for s in samples)

    dataset = Dataset(
        name=f"{lists.name}:split={split}",
        known=origins.known,
        unknown=unknown,
        train=known_part("train"),
        val=known_part("val"),
        test=known_part("test"),
        val_unknown=unknown_part("val"),
        test_unknown=unknown_part("test"),
        unknown_groups={k: v for k, v in origins.unknown.items() if k != "all"},
        notes=tuple(notes),
    ).validate()
    return dataset.map_splits(grouped) if groups else dataset


def write_benchmark(dataset: Dataset, root: Path, name: str, split: str = "split1") -> Path:
    """Writes a data set in the annotation layout, with ``origins.json`` and the images' groups.

    Returns its folder.

    Raises
    ------
    DataError
        The name, or the split's, can't be a folder's.
    """
    groups = {"all": dataset.unknown, **dataset.unknown_groups}
    try:
        lists = BenchmarkOrigins(
            name=name,
            folder=name,
            splits={split: SplitOrigins(known=dataset.known, unknown=groups)},
        )
    except ValidationError as error:
        raise DataError(f"the data set can't be called so: {_wrong(error)}") from None
    folder = root / name
    groups_of = {str(s.path.absolute()): s.group for part in SPLITS for s in dataset.split(part)}
    if any(groups_of.values()):
        write_groups(folder / _GROUPS_FILE, groups_of)
    else:
        (folder / _GROUPS_FILE).unlink(missing_ok=True)
    for part in SPLITS:
        samples: Sequence[Sample] = dataset.split(part)
        base = part.removesuffix("_unknown")
        suffix = "_out_all" if part.endswith("_unknown") else ""
        annotations = folder / f"{split}_{base}" / "annotations"
        write_annotations(annotations / f"{split}_{base}{suffix}.txt", samples)
    write_text(folder / "origins.json", lists.model_dump_json(indent=1) + "\n")
    return folder
