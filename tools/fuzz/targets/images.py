"""The image loader: a file's bytes → 8-bit RGB, or an :class:`ImageError`."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from tools.fuzz.tiny import encode_image, picture
from tools.fuzz.watch import enforce_limits, require
from whichgen.data.images import decoding as images
from whichgen.errors import ImageError

_PIXELS = 1_000_000

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
    """A tiny file of every format and of most modes it has, some of several frames."""
    cases = []
    for form in images.FORMATS:
        for mode in _MODES.get(form, ("RGB",)):
            image = picture().convert("L" if mode == "I;16" else mode)
            cases.append(encode_image(image.convert(mode), form))
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [picture(1), picture(2)]}
    cases += [
        encode_image(picture(), form, **frames) for form in ("GIF", "PNG", "WEBP", "TIFF", "AVIF")
    ]
    cases += [encode_image(picture(), form, exif=exif) for form in ("JPEG", "PNG", "WEBP", "TIFF")]
    cases += [
        encode_image(picture(), "TIFF", compression=c) for c in ("tiff_lzw", "jpeg", "packbits")
    ]
    cases += [
        encode_image(picture(), "JPEG", progressive=True),
        encode_image(picture(), "WEBP", lossless=True),
    ]
    return [*cases, encode_image(picture(), "ICO", bitmap_format="bmp", sizes=[(8, 8)])]


def check(data: bytes) -> None:
    """An image of the size its header says and of RGB bytes, or an :class:`ImageError`."""
    _check(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        _check(mended(data))


@contextmanager
def few_pixels() -> Iterator[None]:
    """A lower limit, so that a case costs milliseconds where it costs seconds in earnest."""
    limits = images.MAX_PIXELS, Image.MAX_IMAGE_PIXELS
    images.MAX_PIXELS = Image.MAX_IMAGE_PIXELS = _PIXELS
    try:
        yield
    finally:
        images.MAX_PIXELS, Image.MAX_IMAGE_PIXELS = limits


def _check(data: bytes) -> None:
    with few_pixels(), enforce_limits():
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
        require(image.size in sizes, f"{image.size}, but its header says {sizes[0]}")
        small = images.make_thumbnail(image, 8)
        require(Image.open(io.BytesIO(small)).format == "JPEG", "a thumbnail that is none")


def mended(data: bytes) -> bytes:
    """A PNG with right checksums, so that damage gets past them."""
    done, at = data[:8], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + size]
        done += data[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at += 12 + size
    return done
