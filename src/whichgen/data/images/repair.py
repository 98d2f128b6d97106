"""Repair image files that viewers show although they are damaged."""

from __future__ import annotations

import hashlib
import io

from PIL import Image

from whichgen.data.images.png import SIGNATURE, remove_optional_chunks

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"

#: Data that a decoder reads only if pixels are missing.
_FILLER = bytes(range(1, 200)) * 2


def repair_png(data: bytes) -> bytes | None:
    """Remove what Pillow refuses in a PNG file but viewers ignore.

    That is an optional chunk with a wrong checksum or length, or with much text. Returns ``None``
    if the file is not a PNG or nothing can be removed.
    """
    if not data.startswith(SIGNATURE):
        return None
    repaired = remove_optional_chunks(data)
    return repaired if len(repaired) < len(data) else None


def repair_jpeg(data: bytes) -> bytes | None:
    """Append the end marker to a JPEG file that lacks nothing else.

    Returns ``None`` if the file is not a JPEG or pixels are missing. Pixels are missing if
    different data at the end give different pixels: a decoder ignores data behind the last pixel.
    """
    if not data.startswith(_JPEG_START):
        return None
    repaired = data + _JPEG_END
    digests = set()
    for variant in (repaired, data + _FILLER + _JPEG_END):
        try:
            with Image.open(io.BytesIO(variant), formats=("JPEG",)) as image:
                digests.add(hashlib.blake2b(image.tobytes()).digest())
        except Exception:  # damaged in another way
            return None
    return repaired if len(digests) == 1 else None
