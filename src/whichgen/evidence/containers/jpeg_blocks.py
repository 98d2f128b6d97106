"""Find the metadata blocks of a JPEG file, which may be damaged."""

from __future__ import annotations

import re
from collections.abc import Iterator

from whichgen.evidence.containers.metadata_blocks import (
    MAX_BLOCK,
    MAX_FIELDS,
    Blocks,
    decode_text,
    find_iptc,
    remove_exif_prefix,
)

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"

_START, _END, _SCAN, _COMMENT, _APP1, _APP13 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE1, 0xED

#: Marker of a segment. In scan data, 255 may also precede 00 (escaped 255), D0 to D7 (restart
#: markers) or 255 (fill bytes).
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")

#: Maximum number of segments read.
_MAX_SEGMENTS = 10_000


def find_jpeg_blocks(data: bytes) -> Blocks:
    """Find the comments, EXIF, XMP and IPTC of a JPEG file.

    Bytes after the end marker are ignored. The beginning of a truncated segment is read. The notes
    report a missing end marker and metadata that was not read because of its size or number.
    """
    comments: list[bytes] = []
    exif: list[bytes] = []
    xmp: list[bytes] = []
    resources, extension = b"", b""
    notes: list[str] = []
    has_end = False
    for marker, content in _iterate_segments(data):
        has_end = marker == _END
        if marker == _COMMENT:
            comments.append(content)
        elif marker == _APP13 and content.startswith(_PHOTOSHOP):
            resources += content[len(_PHOTOSHOP) :]
        elif marker == _APP1 and content.startswith(b"Exif\0"):
            exif.append(remove_exif_prefix(content))
        elif marker == _APP1 and content.startswith(_XMP):
            xmp.append(content[len(_XMP) :])
        elif marker == _APP1 and content.startswith(_EXTENSION):
            # Skip the digest (32 bytes), the total length and the offset (four bytes each).
            extension += content[len(_EXTENSION) + 40 :]
        if len(resources) + len(extension) > MAX_BLOCK:
            notes.append("IPTC and extended XMP are too large; any later metadata was not read")
            break
    else:
        if not has_end:
            notes.append(
                f"the JPEG is truncated, has no end marker or has over {_MAX_SEGMENTS} segments; "
                "any later metadata was not read"
            )
    if len(comments) > MAX_FIELDS:
        notes.append(f"only the first {MAX_FIELDS} comments were read")
    iptc = find_iptc(resources)
    return Blocks(
        texts=tuple(("comment", decode_text(text)) for text in comments[:MAX_FIELDS]),
        exif=tuple(exif),
        xmp=(*xmp, extension) if extension else tuple(xmp),
        iptc=(iptc,) if iptc else (),
        notes=tuple(notes),
    )


def _iterate_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the marker and the content of each segment, up to and including the end marker."""
    position = 2
    for _ in range(_MAX_SEGMENTS):
        match = _MARKER.search(data, position)
        if match is None:
            return
        marker, start = match[1][0], match.end()
        if marker == _END:
            yield marker, b""
            return
        if marker in (_START, 0x01):  # markers without a length
            position = start
            continue
        end = start + max(2, int.from_bytes(data[start : start + 2]))
        yield marker, data[start + 2 : end]
        position = end
