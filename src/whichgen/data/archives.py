"""Images packed into one file: WebDataset's tar, and Parquet as on the Hugging Face hub.

A shard may come from a stranger. Nothing of it is written to disk; the name of a member is a label
and never a path that is opened; what is no regular file, and what is too large, is not read.
"""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from whichgen.data.dataset import IMAGE_SUFFIXES
from whichgen.errors import DataError, ImageError
from whichgen.io.remote import check_file_size

#: Names and attributes of a tar's member may take so many bytes; tarfile would read any number.
_MAX_HEADER = 1 << 20
_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)

#: Columns of these names are taken for the images where several hold bytes.
_NAMES = ("image", "img", "jpg", "png", "webp", "bytes", "image_bytes", "content")

#: Rows that are decoded from Parquet at once: their bytes are in memory together.
_ROWS = 16


class _Stream(io.RawIOBase):
    """A stream whose end is an error: an archive has an end mark, and is read no further.

    tarfile would go on reading nothing to the end of the terabyte that a header says.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        if not data:
            raise tarfile.ReadError("unexpected end of data")
        return data


class _Member(tarfile.TarInfo):
    """A member whose header is refused where tarfile would end quietly, or take all memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # two blocks of zeros: a whole archive's end
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}") from None
        if member.type in _HEADERS and member.size > _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {member.size} bytes")
        return member


def read_tar(stream: IO[bytes], name: str) -> Iterator[tuple[str, bytes | ImageError]]:
    """The images of a tar, in one pass over the stream: ``name/member``, and content or error.

    Members count as images by suffix. A second one of the same name is called ``name/member#2``.
    A damaged or shortened archive's last item is an error under the archive's own name.
    """
    seen: Counter[str] = Counter()
    try:
        with tarfile.open(mode="r|", fileobj=_Stream(stream), tarinfo=_Member) as archive:
            for member in archive:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep all
                if not _is_image(member):
                    continue
                seen[member.name] += 1
                again = f"#{seen[member.name]}" if seen[member.name] > 1 else ""
                title = f"{name}/{member.name}{again}"
                try:
                    check_file_size(member.size, title)
                except ImageError as error:
                    yield title, error
                    continue
                opened = archive.extractfile(member)
                yield title, opened.read() if opened else b""
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        # tarfile parses numbers and names as it finds them: ValueError is among what it raises.
        yield name, ImageError(f"{name}: cut short or damaged ({error})")


def _is_image(member: tarfile.TarInfo) -> bool:
    path = PurePosixPath(member.name)
    return (
        member.isreg()
        and not member.issparse()
        and path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
    )


def open_parquet(stream: Any, name: str) -> pq.ParquetFile:
    """A Parquet file; :class:`~whichgen.errors.DataError` if it is none."""
    try:
        # Nothing is fetched ahead: a group of rows may be larger than memory.
        return pq.ParquetFile(stream, pre_buffer=False, buffer_size=4 << 20)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{name} can't be read as Parquet ({error}).") from None


def image_column(schema: pa.Schema, name: str, asked: str = "") -> str:
    """The column that holds images' bytes, as Parquet names it (``image`` or ``image.bytes``).

    Raises
    ------
    DataError
        There is none, or several and none of a usual name.
    """
    found = {field.name: _leaf(field) for field in schema if _leaf(field)}
    if asked:
        if asked not in found:
            raise DataError(
                f"{name} has no column {asked!r} of bytes; it has {', '.join(found) or 'none'}."
            )
        return found[asked]
    usual = [column for column in _NAMES if column in found]
    if not usual and len(found) != 1:
        raise DataError(
            f"{name}: which column holds the images? Of bytes are {', '.join(found) or 'none'}. "
            "Name it with --column."
        )
    return found[usual[0] if usual else next(iter(found))]


def _leaf(field: pa.Field) -> str:
    """A column of bytes, plain or the hub's struct of bytes and path; empty: another one."""

    def holds_bytes(kind: pa.DataType) -> bool:
        types = pa.types
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    if holds_bytes(field.type):
        return str(field.name)
    if pa.types.is_struct(field.type):
        inside = [part for part in field.type if part.name == "bytes" and holds_bytes(part.type)]
        return f"{field.name}.bytes" if inside else ""
    return ""


def read_rows(
    stream: Any, name: str, column: str, groups: list[int], first: int
) -> Iterator[tuple[str, bytes | ImageError]]:
    """The images in some groups of rows: ``name/ROW``, counted from ``first``."""
    row = first
    try:
        file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=4 << 20)
        for batch in file.iter_batches(_ROWS, row_groups=groups, columns=[column]):
            (values,) = batch.columns
            if pa.types.is_struct(values.type):
                (values,) = values.flatten()  # null where the struct is
            for value in values:
                data = value.as_py()
                title = f"{name}/{row}"
                row += 1
                if not data:
                    yield title, ImageError(f"{title}: the row holds no bytes")
                    continue
                try:
                    check_file_size(len(data), title)
                except ImageError as error:
                    yield title, error
                    continue
                yield title, data
    except (OSError, pa.ArrowException) as error:
        yield name, ImageError(f"{name}: damaged, or can't be read on ({error})")
