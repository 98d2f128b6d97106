"""Read and remove chunks of PNG files, which may be damaged."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

#: First bytes of a PNG file.
SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: Maximum number of chunks that are read. A file of 100 MB has about 12,000 chunks.
MAX_CHUNKS = 200_000

#: Types of the chunks that are required to decode the image.
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})

#: Types of the optional chunks that affect the decoded image: transparency, EXIF rotation and color
#: profile. Other chunks that affect colors, such as gAMA, are ignored when an image is decoded.
_VISIBLE = frozenset({b"tRNS", b"eXIf", b"iCCP"})


@dataclass(frozen=True)
class Chunk:
    """Chunk of a PNG file.

    Parameters
    ----------
    kind
        Type of four letters, such as ``tEXt``.
    start, end
        Positions, in bytes, of the start and of the end (exclusive) of the content in the file. A
        truncated chunk ends with the file.
    is_complete
        Whether the file contains the complete content and checksum.
    """

    kind: bytes
    start: int
    end: int
    is_complete: bool


def iterate_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks of a PNG file in order, up to and including ``IEND``.

    Stop at data that is not a chunk, after a truncated chunk, and after :data:`MAX_CHUNKS` chunks.

    Parameters
    ----------
    data
        Content of a file that begins with :data:`SIGNATURE`.
    """
    position = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        header = data[position : position + 8]
        kind = header[4:]
        if len(kind) < 4 or not kind.isalpha():
            return
        start = position + 8
        end = start + int.from_bytes(header[:4])
        is_complete = end + 4 <= len(data)
        yield Chunk(kind, start, min(end, len(data)), is_complete)
        if kind == b"IEND" or not is_complete:
            return
        position = end + 4


def has_valid_checksum(data: bytes, chunk: Chunk) -> bool:
    """Return whether a chunk of a PNG file is complete and its checksum is correct."""
    checksum = zlib.crc32(data[chunk.start - 4 : chunk.end])
    return chunk.is_complete and data[chunk.end : chunk.end + 4] == checksum.to_bytes(4)


def remove_optional_chunks(data: bytes) -> bytes:
    """Return a PNG file without the chunks that do not affect the decoded image.

    If such a chunk is damaged or too large, viewers ignore it, but Pillow may fail to open the
    file. Damaged chunks with the transparency, EXIF metadata or color profile are removed, too, and
    so is all data after the last chunk that :func:`iterate_chunks` yields.

    Parameters
    ----------
    data
        Content of a file that begins with :data:`SIGNATURE`.
    """
    parts = [SIGNATURE]
    for chunk in iterate_chunks(data):
        is_visible = chunk.kind in _VISIBLE and has_valid_checksum(data, chunk)
        if is_visible or chunk.kind in _CRITICAL:
            parts.append(data[chunk.start - 8 : chunk.end + 4])
    return b"".join(parts)
