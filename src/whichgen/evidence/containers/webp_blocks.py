"""Find the metadata blocks of a WebP file, which may be damaged."""

from __future__ import annotations

from whichgen.evidence.containers.metadata_blocks import Blocks, remove_exif_prefix

#: Maximum number of chunks read. An animation has one chunk per frame.
_MAX_CHUNKS = 20_000


def find_webp_blocks(data: bytes) -> Blocks:
    """Find the EXIF and XMP of a WebP file.

    Bytes beyond the length that the file header states are ignored. The beginning of a truncated
    block is read, and the notes report that the file is truncated.
    """
    exif: list[bytes] = []
    xmp: list[bytes] = []
    length = 8 + int.from_bytes(data[4:8], "little")
    position, end = 12, min(length, len(data))
    for _ in range(_MAX_CHUNKS):
        if position + 8 > end:
            break
        kind = data[position : position + 4]
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        content = data[position + 8 : min(position + 8 + size, end)]
        if kind == b"EXIF":
            exif.append(remove_exif_prefix(content))
        elif kind == b"XMP ":
            xmp.append(content)
        position += 8 + size + size % 2
    note = "the WebP is truncated or damaged; any later metadata was not read"
    return Blocks(exif=tuple(exif), xmp=tuple(xmp), notes=(note,) if length > len(data) else ())
