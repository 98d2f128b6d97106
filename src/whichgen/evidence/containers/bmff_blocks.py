"""Find the metadata blocks of HEIC, AVIF and JPEG XL files, even if Pillow can't decode them.

These files consist of boxes. A box consists of its size, a four-character type and its content.
In HEIC and AVIF, the box ``meta`` lists items and their positions in the file (ISO/IEC 14496-12,
8.11). In JPEG XL, each metadata block is a separate box (ISO/IEC 18181-2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from whichgen.evidence.containers.metadata_blocks import MAX_BLOCK, Blocks

#: MIME type of each brand of HEIC and AVIF files. The brand is in the first box.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "image/heic"),
    **dict.fromkeys((b"mif1", b"msf1", b"mif2"), "image/heif"),
}
#: First bytes of a JPEG XL file that consists of boxes.
_JPEG_XL = b"\0\0\0\x0cJXL \r\n\x87\n"

#: Maximum number of boxes per level, of items in the box ``iloc``, and of extents per item.
_MAX_BOXES = 1000

#: Maximum number of EXIF and XMP items that are read.
_MAX_ITEMS = 10


def find_bmff_mime(data: bytes) -> str:
    """Return the MIME type of a HEIC, AVIF or JPEG XL file, or an empty string for other files.

    A JPEG XL codestream without boxes counts as another file, because it contains no metadata.
    """
    if data.startswith(_JPEG_XL):
        return "image/jxl"
    return _BRANDS.get(data[8:12], "") if data[4:8] == b"ftyp" else ""


def find_bmff_blocks(data: bytes) -> Blocks:
    """Find the EXIF and XMP of a HEIC, AVIF or JPEG XL file.

    At most :data:`~whichgen.evidence.containers.metadata_blocks.MAX_BLOCK` bytes of each block are
    read. Compressed metadata of JPEG XL (box ``brob``) is not read. The notes report compressed
    metadata and truncation.
    """
    exif: list[bytes] = []
    xmp: list[bytes] = []
    notes: list[str] = []
    for kind, start, end in _iterate_boxes(data, 0, len(data)):
        content = data[start : min(end, start + MAX_BLOCK)]
        if kind == b"Exif":
            exif.append(_extract_exif(content))
        elif kind == b"xml ":
            xmp.append(content)
        elif kind == b"brob" and content[:4] in (b"Exif", b"xml "):
            notes.append("compressed metadata of JPEG XL was not read")
        elif kind == b"meta":
            for item, item_content in _iterate_items(data, start + 4, min(end, len(data))):
                if item == b"Exif":
                    exif.append(_extract_exif(item_content))
                else:
                    xmp.append(item_content)
        if end > len(data):
            notes.append("the file is truncated or damaged; any later metadata was not read")
    return Blocks(exif=tuple(exif), xmp=tuple(xmp), notes=tuple(dict.fromkeys(notes)))


def _extract_exif(content: bytes) -> bytes:
    """Return the EXIF block in the content of an EXIF item or box.

    The first four bytes of the content are the offset of the block from the fifth byte.
    """
    return content[4 + int.from_bytes(content[:4]) :]


def _iterate_boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each box between two byte offsets, and the start and end of its content.

    If a box is truncated, the end of its content, computed from its size field, is greater than
    ``end``.
    """
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        size, kind = int.from_bytes(data[start : start + 4]), data[start + 4 : start + 8]
        header_size = 8
        if size == 1:
            size, header_size = int.from_bytes(data[start + 8 : start + 16]), 16
        if size == 0:  # the box extends to the end
            size = end - start
        if size < header_size:
            return
        yield kind, start + header_size, start + size
        start += size


def _iterate_items(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type (``Exif``, or ``mime`` for XMP) and the content of each metadata item.

    ``start`` and ``end`` are the byte offsets of the boxes in the box ``meta``.
    """
    boxes = {kind: (first, last) for kind, first, last in _iterate_boxes(data, start, end)}
    if b"iinf" not in boxes or b"iloc" not in boxes:
        return
    kinds = dict(islice(_iterate_item_types(data, *boxes[b"iinf"]), _MAX_ITEMS))
    for item_id, is_in_idat, extents in _list_extents(data[slice(*boxes[b"iloc"])]):
        if item_id not in kinds:
            continue
        base = boxes.get(b"idat", (len(data), 0))[0] if is_in_idat else 0
        content = b""
        for offset, length in extents:
            # Limit the total size, because the extents of a hostile file can overlap.
            n_bytes = min(length, MAX_BLOCK - len(content))
            content += data[base + offset : base + offset + n_bytes]
        if content:
            yield kinds.pop(item_id), content


def _iterate_item_types(data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the ID and the type of each EXIF or XMP item in a box ``iinf``."""
    start += 6 if data[start : start + 1] == b"\0" else 8
    for kind, first, last in _iterate_boxes(data, start, end):
        width = {2: 2, 3: 4}.get(data[first], 0) if first < len(data) else 0
        if kind != b"infe" or not width:
            continue
        item_id = int.from_bytes(data[first + 4 : first + 4 + width])
        item = data[first + 6 + width : first + 10 + width]
        is_xmp = item == b"mime" and b"application/rdf+xml" in data[first : min(last, first + 200)]
        if item == b"Exif" or is_xmp:
            yield item_id, item


def _list_extents(iloc: bytes) -> list[tuple[int, bool, list[tuple[int, int]]]]:
    """List the extents of each item in the content of a box ``iloc``.

    Returns
    -------
    list of (int, bool, list)
        The ID of each item, whether its content is in the box ``idat``, and its extents. An extent
        is an offset and a length in bytes. The offset is relative to the start of the content of
        ``idat`` or, for other items, of the file. Items that are composed of other items are
        omitted. If the box is damaged, only the items before the damage are listed.
    """
    items: list[tuple[int, bool, list[tuple[int, int]]]] = []
    position = 0

    def read(width: int) -> int:
        nonlocal position
        position += width
        if position > len(iloc):
            raise struct.error
        return int.from_bytes(iloc[position - width : position])

    try:
        version = read(1)
        read(3)
        widths = read(2)
        offset_width, length_width, base_width, index_width = (
            widths >> shift & 15 for shift in (12, 8, 4, 0)
        )
        for _ in range(min(read(4 if version == 2 else 2), _MAX_BOXES)):
            item_id = read(4 if version == 2 else 2)
            method = read(2) & 15 if version else 0
            read(2)
            base = read(base_width)
            extents = []
            for _ in range(min(read(2), _MAX_BOXES)):
                if version:
                    read(index_width)
                offset = base + read(offset_width)
                extents.append((offset, read(length_width)))
            if method in (0, 1):
                items.append((item_id, method == 1, extents))
    except struct.error:
        pass
    return items
