"""A large collection in pieces that are read apart: files, WebDataset's tars, Parquet.

One home for where images' bytes come from, for one process and for many: :func:`find_shards` says
what there is, and whoever gets a shard reads it by itself, image by image.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol

from whichgen.data.archives import image_column, open_parquet, read_rows, read_tar
from whichgen.data.benchmarks import load_benchmark
from whichgen.data.dataset import IMAGE_SUFFIXES, SPLITS
from whichgen.data.reading import hash_image
from whichgen.errors import DataError, ImageError
from whichgen.io.remote import Place, parse_url

#: Images of a shard, where it is we who cut: enough to be worth a task, few enough to do again.
IMAGES = 512

#: So many shards, if there are images for them, so that many workers are busy to the end.
_SHARDS = 64

TAR, PARQUET = ".tar", ".parquet"


@dataclass(frozen=True)
class Item:
    """One image: what it is called, and its content, or :class:`~whichgen.errors.ImageError`.

    ``load`` may be called by another thread than the one that reads the shard, and once.
    """

    name: str
    load: Callable[[], bytes]


class Shard(Protocol):
    """A piece of a source; plain values, which can be sent to another machine."""

    @property
    def images(self) -> int | None:
        """How many there are; ``None``: not known before it is read."""
        ...

    def read(self) -> Iterator[Item]:
        """Its images, in the same order each time. What can't be read is an item, too."""
        ...


@dataclass(frozen=True)
class Files:
    """Some image files."""

    place: Place
    paths: tuple[str, ...]

    @property
    def images(self) -> int:
        return len(self.paths)

    def read(self) -> Iterator[Item]:
        for path in self.paths:
            yield Item(self.place.address(path), partial(self.place.read, path))


@dataclass(frozen=True)
class Tar:
    """A WebDataset shard."""

    place: Place
    path: str
    images: None = None

    def read(self) -> Iterator[Item]:
        name = self.place.address(self.path)
        try:
            with self.place.open(self.path) as stream:
                for title, content in read_tar(stream, name):
                    yield _item(title, content)
        except OSError as error:
            yield _item(name, ImageError(f"{name}: can't be read ({error})"))


@dataclass(frozen=True)
class Rows:
    """Some groups of rows of a Parquet file, whose first row is the file's row ``first``."""

    place: Place
    path: str
    column: str
    groups: tuple[int, ...]
    first: int
    images: int

    def read(self) -> Iterator[Item]:
        name = self.place.address(self.path)
        try:
            with self.place.open(self.path, anywhere=True) as stream:
                for title, content in read_rows(
                    stream, name, self.column, list(self.groups), self.first
                ):
                    yield _item(title, content)
        except OSError as error:
            yield _item(name, ImageError(f"{name}: can't be read ({error})"))


def find_shards(sources: Sequence[str], *, column: str = "", batch_size: int = 32) -> list[Shard]:
    """What there is to read.

    Parameters
    ----------
    sources
        Files, and folders of which all that is below is meant: images, ``.tar`` and
        ``.parquet``; here, ``s3://bucket/…`` or ``hf://datasets/owner/name/…``. ``@FILE`` lists
        files, one a line. A data-set string (``GenImage:split=split1``) is all its parts.
    column
        Parquet's column of images; empty: the only one of bytes, or one of a usual name.
    batch_size
        Shards of files are cut to multiples of it, so that passes are full.

    Raises
    ------
    DataError
        A source is not there, holds no image, or can't be listed.
    """
    images: dict[Place, dict[str, None]] = {}
    packed: dict[tuple[Place, str], None] = {}
    for source in sources:
        for place, path in _found(source):
            if PurePosixPath(path).suffix.lower() in (TAR, PARQUET):
                packed[place, path] = None
            else:
                images.setdefault(place, {})[path] = None
    total = sum(len(paths) for paths in images.values())
    each = -(-min(IMAGES, -(-total // _SHARDS)) // batch_size) * batch_size
    shards: list[Shard] = []
    for place, paths in images.items():
        listed = list(paths)
        shards += [Files(place, tuple(listed[i : i + each])) for i in range(0, len(listed), each)]
    for place, path in packed:
        if PurePosixPath(path).suffix.lower() == TAR:
            shards.append(Tar(place, path))
        else:
            shards += _groups(place, path, column)
    return shards


def count(shards: Sequence[Shard]) -> int | None:
    """The images of all of them; ``None`` if that shows only when they are read."""
    known = [shard.images for shard in shards if shard.images is not None]
    return sum(known) if len(known) == len(shards) else None


def hash_name(name: str) -> bytes:
    """20 bytes by which an image is known where its name is what counts.

    A name that is no text is the same as the text that a table has for it.
    """
    return hash_image(name.encode(errors="backslashreplace"))


def _found(source: str) -> Iterator[tuple[Place, str]]:
    if source.startswith("@"):
        for line in read_path_list(Path(source[1:])):
            yield parse_url(line)
        return
    place, path = parse_url(source)
    files = place.files(path, {*IMAGE_SUFFIXES, TAR, PARQUET})
    if files is None and not place.scheme and re.fullmatch(r"[\w-]+(:\w+=.+)*", source):
        dataset = load_benchmark(source)
        for part in SPLITS:
            for sample in dataset.split(part):
                yield place, str(sample.path)
        return
    if files is None:
        raise DataError(f"{source} does not exist.")
    if not files:
        raise DataError(f"{source} holds no image, .tar or .parquet.")
    for file in files:
        yield place, file


def read_path_list(file: Path) -> list[str]:
    """The names in a text file, one a line."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list {file} can't be read ({error}). One path a line.") from None
    names = [line for line in lines if line.strip()]
    if not names:
        raise DataError(f"@{file} holds no image.")
    return names


def _groups(place: Place, path: str, asked: str) -> Iterator[Shard]:
    """A Parquet file's groups of rows, joined until they are worth a task."""
    name = place.address(path)
    try:
        with place.open(path, anywhere=True) as stream:
            file = open_parquet(stream, name)
            column = image_column(file.schema_arrow, name, asked)
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    except OSError as error:
        raise DataError(f"{name} can't be read ({error}).") from None
    first, rows, groups = 0, 0, list[int]()
    for group, size in enumerate(sizes):
        groups.append(group)
        rows += size
        if rows >= IMAGES or group == len(sizes) - 1:
            yield Rows(place, path, column, tuple(groups), first, rows)
            first, rows, groups = first + rows, 0, []


def _item(name: str, content: bytes | ImageError) -> Item:
    def load() -> bytes:
        if isinstance(content, ImageError):
            raise content
        return content

    return Item(name, load)
