"""From bytes to pixels: one place where images are decoded, and refused."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from whichgen.errors import ImageError

#: Formats that are read, as Pillow names them. What else Pillow knows is rare, or starts a program
#: (EPS).
FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI"),
    *("SGI", "TGA", "TIFF", "WEBP"),
)

#: Images of more pixels are refused before they are decoded (a decompression bomb's protection).
#: It is where Pillow draws its own line, too.
MAX_PIXELS = 178_956_970


def read_bytes(path: Path, name: str = "") -> bytes:
    """The content of an image file, or :class:`ImageError` under ``name`` (left out: its path)."""
    name = name or str(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except OSError as error:
        raise ImageError(f"{name}: can't be read ({error.strerror})") from None
    if not data:
        raise ImageError(f"{name}: the file is empty")
    return data


def image_digest(data: bytes) -> bytes:
    """A 20-byte digest of an image's file content: its identity in the feature store."""
    return hashlib.blake2b(data, digest_size=20).digest()


@dataclass(frozen=True)
class Header:
    """What an image file says before its pixels: format, as Pillow names it, and size in pixels."""

    format: str
    width: int
    height: int


def header(data: bytes, name: str = "image") -> Header:
    """The header of an image file, of which no pixel is decoded.

    Raises
    ------
    ImageError
        Not an image, or of more than :data:`MAX_PIXELS` pixels.
    """
    with _errors_of(name):
        image = _opened(data, name)
        return Header(str(image.format), image.width, image.height)


def decode(data: bytes, name: str = "image") -> Image.Image:
    """Decodes an image file to 8-bit RGB as a viewer shows it.

    EXIF rotation is applied, transparency is laid on white, 16 bits are scaled to 8, CMYK and
    palettes are converted, and of an animation the first frame is taken. A truncated file is an
    error, never filled up with grey.

    Raises
    ------
    ImageError
        Not an image, truncated, or of more than :data:`MAX_PIXELS` pixels.
    """
    with _errors_of(name):
        image = _opened(data, name)
        image.load()
        return to_rgb(_upright(image))


def _opened(data: bytes, name: str) -> Image.Image:
    # Open reads the header alone: the limit is checked before any pixel is decoded.
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {image.width} × {image.height} pixels is over the limit of "
            f"{MAX_PIXELS // 10**6} million; make it smaller first"
        )
    return image


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Whatever Pillow raises, as an :class:`ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        # The warning is raised only where Python was told to make errors of warnings.
        raise ImageError(
            f"{name}: more pixels than the limit of {MAX_PIXELS // 10**6} million; "
            "make it smaller first"
        ) from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not an image that can be read") from None
    except Exception as error:
        # On damaged files Pillow's plugins raise whatever their parsing comes upon, from OSError
        # to struct.error and zlib.error; there is no list of it.
        raise ImageError(f"{name}: damaged or truncated ({error})") from None


def read_image(path: Path) -> Image.Image:
    """Reads and decodes an image file to 8-bit RGB (see :func:`decode`)."""
    return decode(read_bytes(path), str(path))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # as in decode: no list of what damaged EXIF makes Pillow raise
        return image  # the pixels are whole, and a viewer shows them too


def thumbnail(
    image: Image.Image, side: int = 96, *, kind: str = "JPEG", quality: int = 80
) -> bytes:
    """A file of the whole RGB image, at most ``side`` pixels wide and high.

    Nothing but pixels is left of the original: no EXIF, no comment, no place, no camera.
    """
    small = image.copy()
    small.info.clear()  # Pillow would write a comment and a colour profile again
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image as 8-bit RGB (see :func:`decode`)."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        return _grey_to_rgb(image, top=65535.0)
    if image.mode in ("I", "F"):
        # These modes do not say their range: 0…1, 8 bits or 16 bits, whichever holds the values.
        brightest = float(np.asarray(image, dtype=np.float64).max(initial=0.0))
        top = next((t for t in (1.0, 255.0, 65535.0) if brightest <= t), None)
        if top is None:  # NaN as well
            raise ValueError("grey values over 16 bits")
        return _grey_to_rgb(image, top)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _grey_to_rgb(image: Image.Image, top: float) -> Image.Image:
    # Pillow clips what is over 255; a 16-bit image would come out white.
    values = np.asarray(image, dtype=np.float64) * (255.0 / top)
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).convert("RGB")
