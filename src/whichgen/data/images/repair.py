"""Repair damaged image files that viewers can display."""

from __future__ import annotations

import hashlib
import io

from PIL import Image

from whichgen.data.images.png import SIGNATURE, remove_optional_chunks

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"

#: Test data that a decoder reads only if pixels are missing.
_FILLER = bytes(range(1, 200)) * 2


def repair_png(data: bytes) -> bytes | None:
    """Remove optional chunks of a PNG file, which can prevent Pillow from opening it.

    Examples are chunks with a wrong checksum or length, or with a very long text. Returns ``None``
    if the file is not a PNG or has no optional chunks.
    """
    if not data.startswith(SIGNATURE):
        return None
    repaired = remove_optional_chunks(data)
    return repaired if len(repaired) < len(data) else None


def repair_jpeg(data: bytes) -> bytes | None:
    """Append the end marker to a JPEG file that is otherwise complete.

    Returns ``None`` if the file is not a JPEG or pixels are missing. Pixels are missing if
    appending different data results in different pixels, because a decoder ignores data after the
    last pixel.
    """
    if not data.startswith(_JPEG_START):
        return None
    repaired = data + _JPEG_END
    digests = set()
    for variant in (repaired, data + _FILLER + _JPEG_END):
        try:
            with Image.open(io.BytesIO(variant), formats=("JPEG",)) as image:
                digests.add(hashlib.blake2b(image.tobytes()).digest())
        except Exception:  # the file has other damage
            return None
    return repaired if len(digests) == 1 else None
