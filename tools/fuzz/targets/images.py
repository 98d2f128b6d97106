"""Fuzz the image decoder."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from tools.fuzz.case_limits import enforce_limits, require
from tools.fuzz.fixtures import encode_image, make_image
from whichgen.data.images import decoding as images
from whichgen.errors import ImageError

#: Maximum number of pixels of an image in a case.
_PIXELS = 1_000_000

#: Maps formats to the color modes in which an image is encoded; the default is RGB.
_MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F"),
    "JPEG": ("L", "RGB", "CMYK"),
    "JPEG2000": ("L", "LA", "RGB", "RGBA"),
    "TGA": ("L", "LA", "P", "RGB", "RGBA"),
    "GIF": ("L", "P"),
    "PCX": ("1", "L", "P", "RGB"),
    "PPM": ("1", "L", "RGB", "F"),
    "DDS": ("L", "LA", "RGB", "RGBA"),
}


def seeds() -> list[bytes]:
    """Return tiny files in each format and in most of its modes, some with several frames."""
    cases = []
    for form in images.FORMATS:
        for mode in _MODES.get(form, ("RGB",)):
            image = make_image().convert("L" if mode == "I;16" else mode)
            cases.append(encode_image(image.convert(mode), form))
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [make_image(1), make_image(2)]}
    cases += [
        encode_image(make_image(), form, **frames)
        for form in ("GIF", "PNG", "WEBP", "TIFF", "AVIF")
    ]
    cases += [
        encode_image(make_image(), form, exif=exif) for form in ("JPEG", "PNG", "WEBP", "TIFF")
    ]
    cases += [
        encode_image(make_image(), "TIFF", compression=c) for c in ("tiff_lzw", "jpeg", "packbits")
    ]
    cases += [
        encode_image(make_image(), "JPEG", progressive=True),
        encode_image(make_image(), "WEBP", lossless=True),
    ]
    return [*cases, encode_image(make_image(), "ICO", bitmap_format="bmp", sizes=[(8, 8)])]


def check(data: bytes) -> None:
    """Check that an image file is decoded to valid RGB pixels, or :class:`ImageError` is raised."""
    _check(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        _check(fix_checksums(data))


@contextmanager
def lower_pixel_limit() -> Iterator[None]:
    """Lower the limit on the number of pixels, so that each case takes milliseconds."""
    limits = images.MAX_PIXELS, Image.MAX_IMAGE_PIXELS
    images.MAX_PIXELS = Image.MAX_IMAGE_PIXELS = _PIXELS
    try:
        yield
    finally:
        images.MAX_PIXELS, Image.MAX_IMAGE_PIXELS = limits


def _check(data: bytes) -> None:
    with lower_pixel_limit(), enforce_limits():
        try:
            image = images.decode_image(data)
        except ImageError as error:
            require(len(str(error)) < 2000, "an error of more than 2000 characters")
            return
        pixels = np.asarray(image)
        require(image.mode == "RGB" and pixels.dtype == np.uint8, f"pixels of {image.mode}")
        require(pixels.shape == (image.height, image.width, 3), f"pixels of {pixels.shape}")
        require(image.width * image.height <= _PIXELS, f"{image.size} is over the limit")
        head = images.read_header(data)
        sizes = ((head.width, head.height), (head.height, head.width))
        require(image.size in sizes, f"{image.size}, but the header has {sizes[0]}")
        small = images.make_thumbnail(image, 8)
        require(Image.open(io.BytesIO(small)).format == "JPEG", "an invalid thumbnail")


def fix_checksums(data: bytes) -> bytes:
    """Return a PNG file with correct checksums, so that a decoder reads damaged chunks."""
    result, position = data[:8], 8
    while position + 12 <= len(data):
        length = data[position : position + 4]
        size = int.from_bytes(length, "big")
        body = data[position + 4 : position + 8 + size]
        result += length + body + zlib.crc32(body).to_bytes(4, "big")
        position += 12 + size
    return result
