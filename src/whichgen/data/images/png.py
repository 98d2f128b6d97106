"""Walk the chunks of a PNG file, also of a damaged one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: Largest number of chunks read; a file of 100 MB has some 12,000.
MAX_CHUNKS = 200_000

#: Chunks that an image can't be decoded without.
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})

#: Ancillary chunks that change what a viewer shows: transparency, rotation and color profile.
_VISIBLE = frozenset({b"tRNS", b"eXIf", b"iCCP"})


@dataclass(frozen=True)
class Chunk:
    """Part of a PNG file.

    Parameters
    ----------
    kind
        The four letters of its type, such as ``tEXt``.
    start, end
        Positions of the content in the file. A truncated chunk ends with the file.
    is_complete
        Whether the content and the checksum are in the file.
    """

    kind: bytes
    start: int
    end: int
    is_complete: bool


def iterate_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks of a PNG file in order, up to and including ``IEND``.

    The walk ends at data that is not a chunk, after a truncated chunk and after :data:`MAX_CHUNKS`
    chunks. Nothing behind ``IEND`` belongs to the image.
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
    """Return whether a chunk is complete and its checksum is right."""
    checksum = zlib.crc32(data[chunk.start - 4 : chunk.end])
    return chunk.is_complete and data[chunk.end : chunk.end + 4] == checksum.to_bytes(4)


def remove_optional_chunks(data: bytes) -> bytes:
    """Remove the chunks of a PNG file that are not needed to show the image.

    Viewers ignore such a chunk if it is damaged or too large; Pillow then refuses the file.
    Transparency, EXIF and color profile stay unless they are damaged themselves.
    """
    parts = [SIGNATURE]
    for chunk in iterate_chunks(data):
        is_kept = chunk.kind in _VISIBLE and has_valid_checksum(data, chunk)
        if is_kept or chunk.kind in _CRITICAL:
            parts.append(data[chunk.start - 8 : chunk.end + 4])
    return b"".join(parts)
