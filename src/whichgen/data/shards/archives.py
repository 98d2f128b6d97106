"""Read images from WebDataset tar files and from Parquet files with a column of encoded images.

Archives are untrusted: nothing is extracted to disk, names of members are not used as paths, and
members of tar files that are too large or not regular files are not read.
"""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import IO, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from whichgen.data.images.formats import IMAGE_SUFFIXES
from whichgen.data.images.image_limits import MAX_IMAGE_BYTES
from whichgen.data.images.unsupported_files import describe_suffix, is_unsupported_image
from whichgen.errors import DataError
from whichgen.io.folder_listing import is_system_path
from whichgen.option_names import name_option

#: Name of an image in its archive, and its content (bytes) or an error message (str).
Member = tuple[str, bytes | str]

#: Exceptions that damaged archives cause. tarfile raises ValueError for invalid numbers.
ARCHIVE_ERRORS = (tarfile.TarError, pa.ArrowException, OSError, ValueError, EOFError)

#: Maximum size in bytes of a tar header with the name and attributes of a member. tarfile itself
#: has no limit.
_MAX_HEADER = 1 << 20

#: Types of the tar headers that contain the name or attributes of the members that follow.
_HEADER_TYPES = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)

#: Preferred names, in this order, of the image column if several columns are binary.
_IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp", "bytes", "image_bytes", "content")

#: Number of Parquet rows that are decoded at a time.
_BATCH_ROWS = 16


class _TarStream(io.RawIOBase):
    """Binary stream that raises :class:`tarfile.ReadError` at the end of the file.

    A complete tar file ends with blocks of zeros, at which tarfile stops. Therefore, tarfile
    reaches the end of the file only if the file is truncated. Without the error, tarfile would
    continue with empty reads for each block of the truncated member, whose header can state any
    size.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        if not data:
            raise tarfile.ReadError("unexpected end of data")
        return data


class _TarMember(tarfile.TarInfo):
    """Tar member that raises :class:`tarfile.ReadError` for an invalid or oversized header.

    By default, tarfile stops without an error at an invalid header after the first member, and
    reads a header of any size into memory. The limit here is 1 MiB (:data:`_MAX_HEADER`).
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # a block of zeros is the regular end of an archive
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}") from None
        if member.type in _HEADER_TYPES and member.size > _MAX_HEADER:
            raise tarfile.ReadError(
                f"a tar header has {member.size} bytes; the limit is {_MAX_HEADER} bytes"
            )
        return member


def read_tar(stream: IO[bytes]) -> Iterator[Member]:
    """Yield the name and content of each image in an uncompressed tar file, in one pass.

    These members are skipped: hidden and system files
    (:func:`~whichgen.io.folder_listing.is_system_path`), members that are not regular files, sparse
    files, and files without the suffix of an image.

    Parameters
    ----------
    stream
        The file, opened for reading in binary mode; need not be seekable.

    Yields
    ------
    name : str
        Name of the image in the archive. If several images have the same name, ``#2`` is appended
        to the name of the second image, ``#3`` to the name of the third image, and so on.
    content : bytes or str
        Content of the image. An error message (str) if the suffix is that of an unsupported format,
        or the image has more than :data:`~whichgen.data.images.image_limits.MAX_IMAGE_BYTES` bytes.

    Raises
    ------
    Exception
        One of :data:`ARCHIVE_ERRORS`: the archive is compressed, damaged, truncated or unreadable.
    """
    occurrences: Counter[str] = Counter()
    with tarfile.open(mode="r|", fileobj=_TarStream(stream), tarinfo=_TarMember) as archive:
        for member in archive:
            archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep all members
            suffix = PurePosixPath(member.name).suffix.lower()
            is_image = suffix in IMAGE_SUFFIXES or is_unsupported_image(suffix)
            if not is_image or not _is_visible(member):
                continue
            occurrences[member.name] += 1
            count = occurrences[member.name]
            name = f"{member.name}#{count}" if count > 1 else member.name
            if suffix not in IMAGE_SUFFIXES:
                yield name, describe_suffix(suffix)
            elif member.size > MAX_IMAGE_BYTES:
                yield name, _size_error_message(member.size)
            elif content := archive.extractfile(member):
                yield name, content.read()


def _size_error_message(size: int) -> str:
    """Return the error message for an image whose size in bytes exceeds the limit."""
    limit = f"the limit is {MAX_IMAGE_BYTES} bytes"
    return f"the image has {size} bytes; {limit}. Replace it with a smaller file."


def _is_visible(member: tarfile.TarInfo) -> bool:
    """Return whether a member is a regular file that is not sparse, hidden or a system file."""
    is_regular = member.isreg() and not member.issparse()
    return is_regular and not is_system_path(PurePosixPath(member.name))


def open_parquet(stream: Any) -> pq.ParquetFile:
    """Open a Parquet file without prefetching row groups, which may not fit in memory together.

    Parameters
    ----------
    stream
        The file, opened for reading in binary mode; must be seekable.

    Raises
    ------
    Exception
        One of :data:`ARCHIVE_ERRORS`: the file is unreadable or not a valid Parquet file.
    """
    return pq.ParquetFile(stream, pre_buffer=False, buffer_size=4 << 20)


def find_image_column(schema: pa.Schema, name: str, column: str = "") -> str:
    """Return the path of the column that contains the encoded images.

    A column is binary if its values are bytes, or structs with a field ``bytes`` of bytes.

    Parameters
    ----------
    schema
        Arrow schema of the file.
    name
        Name of the file in error messages.
    column
        Name of the image column. If empty, the image column is the first binary column with a
        common name, in the order ``image``, ``img``, ``jpg``, ``png``, ``webp``, ``bytes``,
        ``image_bytes``, ``content``, or else the only binary column.

    Returns
    -------
    str
        The name of the column, such as ``image``; for a column of structs, the path of the field,
        such as ``image.bytes``.

    Raises
    ------
    DataError
        The file has no binary column; ``column`` is not a binary column; or ``column`` is empty
        and the file has several binary columns, none of which has a common name.
    """
    candidates: dict[str, str] = {}
    for field in schema:
        parts = field.type if pa.types.is_struct(field.type) else ()
        if _is_bytes(field.type):
            candidates[field.name] = field.name
        elif any(part.name == "bytes" and _is_bytes(part.type) for part in parts):
            candidates[field.name] = f"{field.name}.bytes"
    if not candidates:
        raise DataError(f"{name} has no binary column. Store the encoded images as bytes.")
    names = ", ".join(candidates)
    if column and column not in candidates:
        raise DataError(f"{name} has no binary column {column!r}. Choose from {names}.")
    preferred_columns = [c for c in _IMAGE_COLUMNS if c in candidates]
    if not column and not preferred_columns and len(candidates) != 1:
        raise DataError(
            f"{name} has several binary columns: {names}. Choose the image column with "
            f"{name_option('--column')}."
        )
    return candidates[
        column or (preferred_columns[0] if preferred_columns else next(iter(candidates)))
    ]


def _is_bytes(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_binary(data_type) or pa.types.is_large_binary(data_type))


def read_parquet(
    stream: Any, column: str, row_groups: Sequence[int], first_row: int
) -> Iterator[Member]:
    """Yield the name and content of each image in some row groups of a Parquet file.

    Parameters
    ----------
    stream
        The file, opened for reading in binary mode; must be seekable.
    column
        Path of the image column, from :func:`find_image_column`.
    row_groups
        Indices of consecutive row groups.
    first_row
        Row number in the file, counted from 0, of the first row of ``row_groups``.

    Yields
    ------
    name : str
        Row number of the image in the file, counted from 0.
    content : bytes or str
        Content of the image. An error message (str) if the row has no image, or the image has more
        than :data:`~whichgen.data.images.image_limits.MAX_IMAGE_BYTES` bytes.

    Raises
    ------
    Exception
        One of :data:`ARCHIVE_ERRORS`: the file is damaged, truncated or unreadable.
    """
    row = first_row
    batches = open_parquet(stream).iter_batches(
        _BATCH_ROWS, row_groups=row_groups, columns=[column]
    )
    for batch in batches:
        (values,) = batch.columns
        if pa.types.is_struct(values.type):
            (values,) = values.flatten()  # a null struct becomes a null value
        for value in values:
            content = value.as_py() or b""
            if len(content) > MAX_IMAGE_BYTES:
                yield str(row), _size_error_message(len(content))
            else:
                yield str(row), content or "the row has no image"
            row += 1
