"""Read parameters that programs hide in the lowest bits of the alpha channel.

The extension ``stealth_pnginfo`` of Stable Diffusion web UIs and NovelAI write them: column by
column, a signature of 15 letters, the number of bits as 32 bits, and the text, which is compressed
with gzip after the signature ``stealth_pngcomp``.
"""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image

from whichgen.evidence.bounded import MAX_TEXT
from whichgen.evidence.finding import Evidence
from whichgen.evidence.parameters import interpret

_SIGNATURES = {b"stealth_pnginfo": False, b"stealth_pngcomp": True}
_SIGNATURE_BITS, _SIZE_BITS = 15 * 8, 32

#: The field name in reports.
FIELD = "alpha channel"


def read_stealth(image: Image.Image) -> Evidence:
    """Extract provenance evidence from the alpha channel of a lossless image.

    The pixels are decoded only if the image has an alpha channel.

    Raises
    ------
    OSError
        The pixels can't be decoded.
    """
    if image.format not in ("PNG", "WEBP") or image.mode not in ("RGBA", "LA"):
        return Evidence()
    bits = np.asarray(image.getchannel("A")).T.reshape(-1) & 1
    is_compressed = _SIGNATURES.get(_pack(bits[:_SIGNATURE_BITS]))
    if is_compressed is None:
        return Evidence()
    start = _SIGNATURE_BITS + _SIZE_BITS
    size = int.from_bytes(_pack(bits[_SIGNATURE_BITS:start]))
    content = _pack(bits[start : start + min(size, 8 * MAX_TEXT)])
    if is_compressed:
        # 47: gzip or zlib.
        content = zlib.decompressobj(wbits=47).decompress(content, MAX_TEXT)
    return Evidence(tuple(interpret("text", FIELD, content.decode("utf-8", errors="replace"))))


def _pack(bits: np.ndarray) -> bytes:
    return np.packbits(bits).tobytes()
