"""Read parameters that programs hide in the lowest bits of the pixels.

The extension ``stealth_pnginfo`` of Stable Diffusion web UIs and NovelAI write them: column by
column, a signature of 15 letters, the number of bits as 32 bits, and the text. The bits are those
of the alpha channel, or of red, green and blue in turn; the signature tells which, and whether the
text is compressed with gzip.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from PIL import Image

from whichgen.evidence.examined_pixels import has_examined_pixels
from whichgen.evidence.finding import Evidence
from whichgen.evidence.parameters import interpret
from whichgen.evidence.text_limits import MAX_TEXT

if TYPE_CHECKING:
    import numpy as np

_ALPHA, _RGB = "alpha channel", "lowest bits of the colors"

#: Signature, name of the field in reports, and whether the text is compressed.
_SIGNATURES = {
    b"stealth_pnginfo": (_ALPHA, False),
    b"stealth_pngcomp": (_ALPHA, True),
    b"stealth_rgbinfo": (_RGB, False),
    b"stealth_rgbcomp": (_RGB, True),
}
_SIGNATURE_BITS, _SIZE_BITS = 15 * 8, 32


def read_stealth(image: Image.Image) -> Evidence:
    """Extract provenance evidence from the lowest bits of a lossless image.

    Images without an alpha channel are examined up to 4 million pixels.

    Raises
    ------
    OSError
        The pixels can't be decoded.
    """
    has_alpha = image.mode in ("RGBA", "LA")
    if image.format not in ("PNG", "WEBP") or not (has_alpha or has_examined_pixels(image)):
        return Evidence()
    import numpy as np

    if has_alpha:
        text = _read_bits(np.asarray(image.getchannel("A")).T.reshape(-1) & 1, _ALPHA)
        if text:
            return Evidence(tuple(interpret("text", _ALPHA, text)))
    if has_examined_pixels(image):
        # The signature takes 40 pixels: look at them before all others are rearranged.
        columns = np.asarray(image.crop((0, 0, -(-_SIGNATURE_BITS // image.height), image.height)))
        head = columns[..., :3].transpose(1, 0, 2).reshape(-1)[:_SIGNATURE_BITS] & 1
        if _SIGNATURES.get(_pack(head), ("", False))[0] == _RGB:
            pixels = np.asarray(image)[..., :3].transpose(1, 0, 2).reshape(-1) & 1
            return Evidence(tuple(interpret("text", _RGB, _read_bits(pixels, _RGB))))
    return Evidence()


def _read_bits(bits: np.ndarray, field: str) -> str:
    """Return the text in a sequence of bits; empty without a signature of the given field."""
    place, is_compressed = _SIGNATURES.get(_pack(bits[:_SIGNATURE_BITS]), ("", False))
    if place != field:
        return ""
    start = _SIGNATURE_BITS + _SIZE_BITS
    size = int.from_bytes(_pack(bits[_SIGNATURE_BITS:start]))
    content = _pack(bits[start : start + min(size, 8 * MAX_TEXT)])
    if is_compressed:
        # 47: gzip or zlib.
        content = zlib.decompressobj(wbits=47).decompress(content, MAX_TEXT)
    return content.decode("utf-8", errors="replace")


def _pack(bits: np.ndarray) -> bytes:
    import numpy as np

    return np.packbits(bits).tobytes()
