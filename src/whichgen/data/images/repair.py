"""Repair damaged image files that viewers can display but Pillow can't decode."""

from __future__ import annotations

import hashlib
import io

from PIL import Image

from whichgen.data.images.png import SIGNATURE, remove_optional_chunks

#: First bytes of a JPEG file, and its end marker.
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"

#: Bytes to append to a JPEG file; they change the decoded image only if pixels are missing.
_FILLER = bytes(range(1, 200)) * 2


def repair_png(data: bytes) -> bytes | None:
    """Return a PNG file without the optional chunks that can prevent Pillow from opening it.

    Examples are chunks with a wrong checksum, invalid content or a very long text. Return ``None``
    if the file is not a PNG file, or if nothing can be removed.
    """
    if not data.startswith(SIGNATURE):
        return None
    repaired_data = remove_optional_chunks(data)
    return repaired_data if len(repaired_data) < len(data) else None


def repair_jpeg(data: bytes) -> bytes | None:
    """Return a JPEG file with an end marker appended, if the file is otherwise complete.

    Return ``None`` if the file is not a JPEG file, has other damage, or lacks pixels. A decoder
    ignores data after the last pixel. Therefore, pixels are missing if the decoded image depends on
    the data that is appended.
    """
    if not data.startswith(_JPEG_START):
        return None
    repaired_data = data + _JPEG_END
    digests = set()
    for variant in (repaired_data, data + _FILLER + _JPEG_END):
        try:
            with Image.open(io.BytesIO(variant), formats=("JPEG",)) as image:
                digests.add(hashlib.blake2b(image.tobytes()).digest())
        except Exception:  # the file has other damage
            return None
    return repaired_data if len(digests) == 1 else None
