"""Read generation parameters that are hidden in the lowest bits of the pixels.

NovelAI and the extension ``stealth_pnginfo`` of Stable Diffusion web UIs write such parameters. The
data consist of a signature of 15 characters, the length of the text in bits (32-bit big-endian
integer), and the text. The bits are stored column by column, in the alpha channel or in red, green
and blue in turn. The signature specifies the channels and whether the text is compressed with gzip.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from PIL import Image

from whichgen.evidence.finding import Evidence
from whichgen.evidence.hidden_data.examined_pixels import decode_pixels, has_examined_pixels
from whichgen.evidence.metadata.text_fields import interpret_text
from whichgen.evidence.untrusted_text import MAX_TEXT

if TYPE_CHECKING:
    import numpy as np

#: Names of the fields in reports.
_ALPHA, _RGB = "alpha channel", "lowest bits of the colors"

#: Maps each signature to the name of the field and to whether the text is compressed.
_SIGNATURES = {
    b"stealth_pnginfo": (_ALPHA, False),
    b"stealth_pngcomp": (_ALPHA, True),
    b"stealth_rgbinfo": (_RGB, False),
    b"stealth_rgbcomp": (_RGB, True),
}
_SIGNATURE_BITS, _SIZE_BITS = 15 * 8, 32


def read_hidden_parameters(image: Image.Image) -> Evidence:
    """Extract provenance evidence from the lowest bits of the pixels of a PNG or WebP image.

    The alpha channel of an image of mode RGBA or LA is always read. Without parameters in an alpha
    channel, the colors are read, provided that
    :func:`~whichgen.evidence.hidden_data.examined_pixels.has_examined_pixels` is true.

    Parameters
    ----------
    image
        Image as opened by Pillow.

    Returns
    -------
    Evidence
        Empty for other formats, and if there are no hidden parameters.

    Raises
    ------
    ImageError
        The pixels can't be decoded, for example because they are truncated.
    ValueError
        The compressed text is damaged.
    """
    has_alpha = image.mode in ("RGBA", "LA")
    if image.format not in ("PNG", "WEBP") or not (has_alpha or has_examined_pixels(image)):
        return Evidence()
    decode_pixels(image)
    import numpy as np

    if has_alpha:
        text = _read_text(np.asarray(image.getchannel("A")).T.reshape(-1) & 1, _ALPHA)
        if text:
            return Evidence(tuple(interpret_text("text", _ALPHA, text)))
    if has_examined_pixels(image):
        # Check the signature, which takes 40 pixels, before rearranging all pixels.
        columns = np.asarray(image.crop((0, 0, -(-_SIGNATURE_BITS // image.height), image.height)))
        signature = columns[..., :3].transpose(1, 0, 2).reshape(-1)[:_SIGNATURE_BITS] & 1
        if _SIGNATURES.get(_pack(signature), ("", False))[0] == _RGB:
            pixels = np.asarray(image)[..., :3].transpose(1, 0, 2).reshape(-1) & 1
            return Evidence(tuple(interpret_text("text", _RGB, _read_text(pixels, _RGB))))
    return Evidence()


def _read_text(bits: np.ndarray, field: str) -> str:
    """Return the text in ``bits``; empty if they do not begin with a signature of ``field``."""
    signature_field, is_compressed = _SIGNATURES.get(_pack(bits[:_SIGNATURE_BITS]), ("", False))
    if signature_field != field:
        return ""
    start = _SIGNATURE_BITS + _SIZE_BITS
    size = int.from_bytes(_pack(bits[_SIGNATURE_BITS:start]))
    content = _pack(bits[start : start + min(size, 8 * MAX_TEXT)])
    if is_compressed:
        # wbits=47 accepts gzip and zlib.
        try:
            content = zlib.decompressobj(wbits=47).decompress(content, MAX_TEXT)
        except zlib.error:
            raise ValueError("the compressed text is damaged") from None
    return content.decode("utf-8", errors="replace")


def _pack(bits: np.ndarray) -> bytes:
    import numpy as np

    return np.packbits(bits).tobytes()
