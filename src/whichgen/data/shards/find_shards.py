"""Divide collections of image files, tar files and Parquet files into shards.

:func:`find_shards` returns the shards of a collection. A process or cluster worker reads the images
of one shard at a time, independently of all other shards.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from whichgen.data.images.decoding import load_bytes
from whichgen.data.images.formats import IMAGE_SUFFIXES, PARQUET, TAR
from whichgen.data.images.image_limits import MAX_IMAGE_BYTES
from whichgen.data.images.skipped_files import describe_skipped
from whichgen.data.open_dataset import list_samples
from whichgen.data.shards.archives import (
    ARCHIVE_ERRORS,
    find_image_column,
    open_parquet,
    read_parquet,
    read_tar,
)
from whichgen.data.tables.path_lists import get_list_file, read_path_list
from whichgen.errors import DataError, ImageError
from whichgen.io.file_names import escape_name
from whichgen.io.remote import Storage, parse_url

#: Maximum number of image files per shard, before it is rounded up to full batches, and minimum
#: number of rows per shard of a Parquet file. More images would take long to process again after a
#: worker dies; fewer images would increase the share of the overhead per shard.
MAX_SHARD_IMAGES = 512

#: Approximate minimum number of shards if there are many image files. With fewer shards, some
#: workers would have nothing to do while others process the last shards.
_TARGET_SHARDS = 64


@dataclass(frozen=True)
class Item:
    """An image of a shard.

    Parameters
    ----------
    name
        Path or URL of the image. For an image in an archive, the path or URL of the archive,
        followed by ``/`` and the name or row number of the image. For the unreadable end of an
        archive, the path or URL of the archive.
    load
        Function that returns the content of the image file, or raises :class:`ImageError` if the
        image is unreadable. The function can be called by any thread.
    """

    name: str
    load: Callable[[], bytes]


@dataclass(frozen=True)
class Files:
    """A shard of image files.

    Parameters
    ----------
    storage
        Storage that contains the files.
    paths
        Paths of the files in the storage.
    """

    storage: Storage
    paths: tuple[str, ...]

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.paths)

    def read(self) -> Iterator[Item]:
        """Yield one item per file; a file is read only when :attr:`Item.load` is called."""
        for path in self.paths:
            name = self.storage.get_url(path)
            load = partial(self.storage.read, path, MAX_IMAGE_BYTES)
            yield Item(name, partial(load_bytes, load, name))


@dataclass(frozen=True)
class Archive:
    """A shard that is a WebDataset tar file or consists of row groups of a Parquet file.

    Parameters
    ----------
    storage, path
        Storage that contains the file, and path of the file in the storage.
    n_images
        Number of images; ``None`` for a tar file, whose images can be counted only by reading it.
    column
        Path of the image column of the Parquet file; empty for a tar file.
    row_groups
        Indices of consecutive row groups of the Parquet file; empty for a tar file.
    first_row
        Row number in the Parquet file, counted from 0, of the first row of ``row_groups``.
    """

    storage: Storage
    path: str
    n_images: int | None = None
    column: str = ""
    row_groups: tuple[int, ...] = ()
    first_row: int = 0

    def read(self) -> Iterator[Item]:
        """Yield one item per image.

        If the archive can't be read to the end, the last item has the name of the archive, and its
        ``load`` raises :class:`ImageError`.
        """
        archive = self.storage.get_url(self.path)
        try:
            with self.storage.open(self.path) as stream:
                members = read_tar(stream)
                if self.column:
                    members = read_parquet(stream, self.column, self.row_groups, self.first_row)
                for member, content in members:
                    name = f"{archive}/{member}"
                    yield Item(name, partial(_get_content, content, name))
        except ARCHIVE_ERRORS as error:
            reason = (
                f"can't be read to the end ({error}). Check that the file is complete and readable."
            )
            yield Item(archive, partial(_get_content, reason, archive))


#: Part of a collection. A shard can be pickled to send it to another machine. ``read`` yields all
#: images of the shard, including unreadable images, in a fixed order.
Shard = Files | Archive


def find_shards(sources: Sequence[str], *, batch_size: int = 1, column: str = "") -> list[Shard]:
    """List the files of all sources, and divide them into shards.

    The image files of a storage are grouped into shards of equal size, except the last: at most
    :data:`MAX_SHARD_IMAGES` files, rounded up to a multiple of ``batch_size``. Each tar file is one
    shard. Each Parquet file is divided into shards of consecutive row groups. A path that is listed
    several times is used once.

    Parameters
    ----------
    sources
        Each source is one of the following: an image file, ``.tar`` file or ``.parquet`` file; a
        folder of such files and subfolders; a list of paths or URLs of such files (``@FILE``;
        folders in the list are not searched); or a dataset string
        (``GenImage:split=split1``) for the images of all splits of a dataset. Files and folders are
        specified by local paths or URLs (``s3://…`` or ``hf://datasets/owner/name/…``).
    batch_size
        Number of images per forward pass. The number of image files per shard is a multiple of
        ``batch_size``, except in the last shard of each storage.
    column
        Name of the image column of Parquet files; if empty,
        :func:`~whichgen.data.shards.archives.find_image_column` chooses the column.

    Returns
    -------
    list of Shard
        The shards of image files, then those of archives.

    Raises
    ------
    DataError
        A source does not exist, can't be listed, or contains no images or archives; a URL or
        dataset string is invalid; a list can't be read or contains no paths; or a Parquet file
        can't be read or its image column can't be determined. Missing image files and tar files in
        a list cause an error only in :attr:`Item.load`.

    Warns
    -----
    WhichgenWarning
        Files are skipped; a source that begins with ``@`` is the path of an existing file or folder
        (:func:`~whichgen.data.tables.path_lists.get_list_file`); or a list is a table with several
        columns (:func:`~whichgen.data.tables.path_lists.read_path_list`).
    """
    images: dict[Storage, list[str]] = defaultdict(list)
    archives: list[Shard] = []
    for storage, path in dict.fromkeys(file for s in sources for file in _list_source(s)):
        suffix = PurePosixPath(path).suffix.lower()
        if suffix == TAR:
            archives.append(Archive(storage, path))
        elif suffix == PARQUET:
            archives += _list_row_groups(storage, path, column)
        else:
            images[storage].append(path)
    total = sum(map(len, images.values()))
    size = -(-min(MAX_SHARD_IMAGES, -(-total // _TARGET_SHARDS)) // batch_size) * batch_size
    shards: list[Shard] = []
    for storage, paths in images.items():
        starts = range(0, len(paths), size)
        shards += [Files(storage, tuple(paths[i : i + size])) for i in starts]
    return shards + archives


def count_images(shards: Sequence[Shard]) -> int | None:
    """Return the number of images in all shards, or ``None`` if one of them is a tar file."""
    counts = [shard.n_images for shard in shards if shard.n_images is not None]
    return sum(counts) if len(counts) == len(shards) else None


def hash_name(name: str) -> bytes:
    """Return the 20-byte BLAKE2b digest of the name of an image.

    The name is first escaped (:func:`~whichgen.io.file_names.escape_name`), so that names read from
    result tables have the same digest.
    """
    return hashlib.blake2b(escape_name(name).encode(), digest_size=20).digest()


def _list_source(source: str) -> Iterator[tuple[Storage, str]]:
    """Yield the storage and path of each file in a source (see :func:`find_shards`)."""
    if file := get_list_file(source):
        yield from map(parse_url, read_path_list(file))
        return
    storage, path = parse_url(source)
    files = storage.list_files(path, {*IMAGE_SUFFIXES, TAR, PARQUET}, describe_skipped)
    if files is None and not storage.scheme and re.fullmatch(r"[\w-]+(:\w+=.+)*", source):
        files = [str(sample.path) for sample in list_samples(source)]
    if files is None:
        raise DataError(f"{source} does not exist. Check the path.")
    if not files:
        raise DataError(f"{source} contains no images, .tar or .parquet files. Check the path.")
    for file_path in files:
        yield storage, file_path


def _list_row_groups(storage: Storage, path: str, column: str) -> Iterator[Shard]:
    """Divide a Parquet file into shards of consecutive row groups.

    Each shard except the last has at least :data:`MAX_SHARD_IMAGES` rows.

    Raises
    ------
    DataError
        The Parquet file can't be read, or its image column can't be determined.
    """
    name = storage.get_url(path)
    try:
        with storage.open(path) as stream:
            file = open_parquet(stream)
            image_column = find_image_column(file.schema_arrow, name, column)
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    except ARCHIVE_ERRORS as error:
        raise DataError(
            f"{name} can't be read as a Parquet file ({error}). Check that the file is complete "
            "and readable."
        ) from None
    first_row, n_rows, row_groups = 0, 0, list[int]()
    for row_group, size in enumerate(sizes):
        row_groups.append(row_group)
        n_rows += size
        if n_rows >= MAX_SHARD_IMAGES or row_group == len(sizes) - 1:
            yield Archive(storage, path, n_rows, image_column, tuple(row_groups), first_row)
            first_row, n_rows, row_groups = first_row + n_rows, 0, []


def _get_content(content: bytes | str, name: str) -> bytes:
    """Return ``content`` if it is bytes; raise :class:`ImageError` if it is an error message."""
    if isinstance(content, str):
        raise ImageError(f"{name}: {content}")
    return content
