"""From bytes to pixels: one place where images are decoded, and refused."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.IcoImagePlugin import IcoFile

from whichgen.errors import ImageError
from whichgen.io.untrusted import read_regular_file

#: Formats that are read, as Pillow names them. What else Pillow knows is rare, or starts a program
#: (EPS).
FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI"),
    *("SGI", "TGA", "TIFF", "WEBP"),
)

#: Images of more pixels are refused before they are decoded (a decompression bomb's protection).
#: It is where Pillow draws its own line, too.
MAX_PIXELS = 178_956_970

#: Files of more bytes are refused: so many pixels of 64 bits are less.
MAX_BYTES = 2**31

#: Images whose longer side is more than so many times the shorter one are refused: an encoder that
#: scales the shorter side up to its own would make gigabytes of a line of pixels.
MAX_RATIO = 200

#: Scans of a JPEG at most. A progressive one has about ten, each of which is a pass over the whole
#: image, and may cost 75 bytes: a file of 32 MiB could take hours.
MAX_SCANS = 100


def read_bytes(path: Path, name: str = "") -> bytes:
    """The content of an image file, or :class:`ImageError` under ``name`` (left out: its path)."""
    name = name or str(path)
    try:
        data = read_regular_file(path, MAX_BYTES)
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except OSError as error:
        raise ImageError(f"{name}: can't be read ({error.strerror})") from None
    if not data:
        raise ImageError(f"{name}: the file is empty")
    return data


def hash_image(data: bytes) -> bytes:
    """A 20-byte digest of an image's file content: its identity in the feature store."""
    return hashlib.blake2b(data, digest_size=20).digest()


_ICON = b"\0\0\1\0"

# Not those without a length: a 255 that is meant (0), and restarts (D0 to D7) in a scan's data.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")


@dataclass(frozen=True)
class ImageHeader:
    """What an image file says before its pixels: format, as Pillow names it, and size in pixels."""

    format: str
    width: int
    height: int


def read_header(data: bytes, name: str = "image") -> ImageHeader:
    """The header of an image file, of which no pixel is decoded.

    Raises
    ------
    ImageError
        Not an image, of more than :data:`MAX_PIXELS` pixels, or of sides more unlike than
        :data:`MAX_RATIO`.
    """
    with _errors_of(name):
        image = open_image(data, name)
        return ImageHeader(str(image.format), image.width, image.height)


def decode_image(data: bytes, name: str = "image") -> Image.Image:
    """Decodes an image file to 8-bit RGB as a viewer shows it.

    EXIF rotation is applied, transparency is laid on white, 16 bits are scaled to 8, CMYK and
    palettes are converted, and of an animation the first frame is taken. A truncated file is an
    error, never filled up with gray.

    Raises
    ------
    ImageError
        As :func:`header`, or it is truncated.
    """
    with _errors_of(name):
        image = open_image(data, name)
        image.load()
        return to_rgb(_upright(image))


def open_image(data: bytes, name: str = "image") -> Image.Image:
    """An image file of which the header is read, checked, and no pixel decoded.

    Raises
    ------
    Exception
        As :func:`header`, or whatever Pillow raises.
    """
    image: Image.Image
    if data.startswith(_ICON):
        # Pillow decodes the pixels of an icon when it is opened. It holds whole files, whose sizes
        # need not be those that its list of them tells.
        icon = IcoFile(io.BytesIO(data))
        image = icon.getimage(icon.entry[0].dim)
        image.format = "ICO"
    else:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {image.width} × {image.height} pixels is over the limit of "
            f"{MAX_PIXELS // 10**6} million; make it smaller first"
        )
    if max(image.size) > MAX_RATIO * min(image.size):
        raise ImageError(
            f"{name}: {image.width} × {image.height} pixels: one side is over {MAX_RATIO} times "
            "the other; cut a piece out of it first"
        )
    if image.format in ("JPEG", "MPO") and (scans := _scans(data)) > MAX_SCANS:
        raise ImageError(f"{name}: a JPEG of {scans} scans; save it anew")
    return image


def _scans(data: bytes) -> int:
    """How often a JPEG's data begin anew, up to its end; at most one more than allowed."""
    scans, at = 0, 2
    while scans <= MAX_SCANS and (marker := _MARKER.search(data, at)):
        at = marker.end()
        kind = marker[1]
        if kind == b"\xd9":  # the end; another file may follow
            break
        scans += kind == b"\xda"
        # A segment tells its length; what it holds, say a thumbnail, is none of this image.
        at += int.from_bytes(data[at : at + 2], "big")
    return scans


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
    return decode_image(read_bytes(path), str(path))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # as in decode: no list of what damaged EXIF makes Pillow raise
        return image  # the pixels are whole, and a viewer shows them too


def make_thumbnail(
    image: Image.Image, side: int = 96, *, kind: str = "JPEG", quality: int = 80
) -> bytes:
    """A file of the whole RGB image, at most ``side`` pixels wide and high.

    Nothing but pixels is left of the original: no EXIF, no comment, no place, no camera.
    """
    small = image.copy()
    small.info.clear()  # Pillow would write a comment and a color profile again
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image as 8-bit RGB (see :func:`decode`)."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        return _gray_to_rgb(image, top=65535.0)
    if image.mode in ("I", "F"):
        # These modes do not say their range: 0…1, 8 bits or 16 bits, whichever holds the values.
        brightest = float(np.asarray(image, dtype=np.float64).max(initial=0.0))
        top = next((t for t in (1.0, 255.0, 65535.0) if brightest <= t), None)
        if top is None:  # NaN as well
            raise ValueError("gray values over 16 bits")
        return _gray_to_rgb(image, top)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _gray_to_rgb(image: Image.Image, top: float) -> Image.Image:
    # Pillow clips what is over 255; a 16-bit image would come out white.
    values = np.array(image, dtype=np.float64)
    values *= 255.0 / top  # in place: of the largest image this is more than a gigabyte
    np.clip(np.rint(values, out=values), 0, 255, out=values)
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")
