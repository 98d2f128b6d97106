"""Find the metadata blocks of a WebP file, also of a damaged one."""

from __future__ import annotations

from whichgen.evidence.blocks import Blocks, remove_exif_prefix

#: Largest number of chunks read; an animation has one per frame.
_MAX_CHUNKS = 20_000


def find_webp_blocks(data: bytes) -> Blocks:
    """Find the EXIF and XMP of a WebP file.

    Bytes behind the length that the file states do not belong to the image and are ignored. A
    truncated block is read as far as it goes, and adds a note.
    """
    exif: list[bytes] = []
    xmp: list[bytes] = []
    stated = 8 + int.from_bytes(data[4:8], "little")
    position, end = 12, min(stated, len(data))
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
    note = "the WebP is truncated; the metadata before was read"
    return Blocks(exif=tuple(exif), xmp=tuple(xmp), notes=(note,) if stated > len(data) else ())
