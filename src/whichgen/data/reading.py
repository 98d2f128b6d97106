"""Read, validate and decode image files."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.IcoImagePlugin import IcoFile

from whichgen.data.formats import FORMATS, MAX_IMAGE_BYTES, MAX_PIXELS, MAX_RATIO, MAX_SCANS
from whichgen.data.repair import repair_jpeg, repair_png
from whichgen.data.unsupported import describe_unsupported
from whichgen.errors import ImageError
from whichgen.io.untrusted_files import read_regular_file

_ICON = b"\0\0\1\0"

# JPEG markers that have a length; not an escaped 255 (0) and restarts (D0 to D7) in scan data.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")

_PIXEL_LIMIT = f"more pixels than the limit of {MAX_PIXELS // 10**6} million; downscale it"


def read_bytes(path: Path) -> bytes:
    """Read the bytes of an image file without decoding it.

    Raises
    ------
    ImageError
        The file is missing, unreadable, empty, or larger than
        :data:`~whichgen.data.formats.MAX_IMAGE_BYTES`.
    """
    return load_bytes(lambda: read_regular_file(path, MAX_IMAGE_BYTES), str(path))


def load_bytes(load: Callable[[], bytes], name: str) -> bytes:
    """Call ``load`` and return the bytes; convert its errors to :class:`ImageError`.

    Parameters
    ----------
    load
        Function that reads the image file and returns its content.
    name
        Name of the image in error messages.

    Raises
    ------
    ImageError
        ``load`` raises an :class:`OSError` or returns no bytes.
    """
    try:
        data = load()
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except OSError as error:
        raise ImageError(
            f"{name}: can't be read ({error.strerror or error}); check the file"
        ) from None
    if not data:
        raise ImageError(f"{name}: the file is empty; replace it")
    return data


def hash_image(data: bytes) -> bytes:
    """Return the 20-byte BLAKE2b digest of the content of an image file.

    The feature store identifies images by this digest.
    """
    return hashlib.blake2b(data, digest_size=20).digest()


@dataclass(frozen=True)
class ImageHeader:
    """Format and size of an image file.

    Parameters
    ----------
    format
        Format as named by Pillow.
    width, height
        Width and height in pixels, before EXIF rotation.
    """

    format: str
    width: int
    height: int


def read_header(data: bytes, name: str = "image") -> ImageHeader:
    """Read the header of an image file without decoding pixels (except for ICO).

    Parameters
    ----------
    data
        Content of the file.
    name
        Name of the image in error messages.

    Raises
    ------
    ImageError
        The file is not an image in a supported format, is damaged, or exceeds a limit of
        :mod:`whichgen.data.formats`.
    """
    with _convert_errors(data, name):
        image = open_image(data, name)
        return ImageHeader(str(image.format), image.width, image.height)


def decode_image(data: bytes, name: str = "image") -> Image.Image:
    """Decode an image file to 8-bit RGB.

    The EXIF rotation is applied, transparent pixels are composited on white, 16-bit values are
    scaled to 8 bits, and CMYK and palette colors are converted to RGB. Only the first frame of an
    animation is decoded. Damage that viewers ignore is ignored, too: a wrong checksum of an
    optional chunk of a PNG, or the missing end marker of a JPEG that is complete otherwise.

    Parameters
    ----------
    data
        Content of the file.
    name
        Name of the image in error messages.

    Raises
    ------
    ImageError
        The file is not an image in a supported format, is damaged or truncated, or exceeds a limit
        of :mod:`whichgen.data.formats`.
    """
    with _convert_errors(data, name):
        image = open_image(data, name)
        try:
            image.load()
        except Exception:  # plugins raise anything on damaged files
            # open_image has checked the limits.
            repaired = repair_png(data) or repair_jpeg(data)
            if repaired is None:
                raise
            image = open_image(repaired, name)
            image.load()
        return to_rgb(_rotate_upright(image))


def read_image(path: Path) -> Image.Image:
    """Read an image file and decode it to 8-bit RGB (see :func:`decode_image`)."""
    return decode_image(read_bytes(path), str(path))


def open_image(data: bytes, name: str = "image") -> Image.Image:
    """Open an image file and check it against the limits of :mod:`whichgen.data.formats`.

    Pixels are not decoded, except those of icons (ICO), which are decoded before the check.

    Raises
    ------
    Exception
        :class:`ImageError` if a limit is exceeded, or any exception that Pillow raises.
    """
    image: Image.Image
    if data.startswith(_ICON):
        # Pillow decodes an icon when it opens it. The icon holds whole files, whose sizes may
        # differ from those in its directory.
        icon = IcoFile(io.BytesIO(data))
        image = icon.getimage(icon.entry[0].dim)
        image.format = "ICO"
    else:
        image = _open_with_pillow(data)
    size = f"{image.width} × {image.height}"
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{name}: the image has {size} pixels, {_PIXEL_LIMIT}")
    if max(image.size) > MAX_RATIO * min(image.size):
        raise ImageError(
            f"{name}: the image has an aspect ratio over {MAX_RATIO} ({size} pixels); crop it"
        )
    if image.format in ("JPEG", "MPO") and _count_scans(data) > MAX_SCANS:
        raise ImageError(f"{name}: the JPEG has over {MAX_SCANS} scans; save it as a baseline JPEG")
    return image


def _open_with_pillow(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception:  # plugins raise anything on damaged files
        repaired = repair_png(data)
        if repaired is None:
            raise
        return Image.open(io.BytesIO(repaired), formats=FORMATS)


def make_thumbnail(
    image: Image.Image, side: int = 96, *, kind: str = "JPEG", quality: int = 80
) -> bytes:
    """Scale an RGB image down to at most ``side`` pixels per side, and return it encoded.

    The aspect ratio is kept; a smaller image keeps its size. All metadata of the image (EXIF,
    comments, color profile) is removed.

    Parameters
    ----------
    side
        Maximum width and height in pixels.
    kind
        Format of the thumbnail, as named by Pillow.
    quality
        Compression quality, 0 to 100.
    """
    small = image.copy()
    small.info.clear()  # Pillow would write the comment and color profile again
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a Pillow image of any mode to 8-bit RGB.

    Transparent pixels are composited on white. Gray values with more than 8 bits are scaled so that
    white becomes 255. White is 65535 for the modes ``I;16…``; for the modes ``I`` and ``F``, it is
    the smallest of 1, 255 and 65535 that no pixel exceeds. Floating-point images whose values are
    mostly below 1 may have highlights above 1, which become white.

    Raises
    ------
    ValueError
        A value of an image of mode ``I`` or ``F`` exceeds 65535 or is NaN.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        return _gray_to_rgb(image, white=65535.0)
    if image.mode in ("I", "F"):
        # These modes have no fixed range: 0 to 1, 8 bits or 16 bits, whichever holds the values.
        values = np.asarray(image, dtype=np.float64)
        brightest = float(values.max(initial=0.0))
        white = next((w for w in (1.0, 255.0, 65535.0) if brightest <= w), None)
        if white is not None and image.mode == "F" and _has_unit_range(values):
            white = 1.0
        if white is None:  # also for NaN
            raise ValueError("gray values exceed 16 bits")
        return _gray_to_rgb(image, white)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        background = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(background, rgba).convert("RGB")
    return image.convert("RGB")


def _has_unit_range(values: np.ndarray) -> bool:
    """Return whether most values are fractions of 1, as in images with a high dynamic range."""
    return bool(np.median(values) <= 1 and (values != np.rint(values)).any())


def _gray_to_rgb(image: Image.Image, white: float) -> Image.Image:
    # Pillow clips values over 255, so that a 16-bit image would come out white.
    values = np.array(image, dtype=np.float64)
    values *= 255.0 / white  # in place: the largest image takes more than a gigabyte
    np.clip(np.rint(values, out=values), 0, 255, out=values)
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")


def _rotate_upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow raises any exception on damaged EXIF data
        return image  # the pixels are intact, and a viewer shows them, too


def _count_scans(data: bytes) -> int:
    """Count the scans of a JPEG; stop when the count exceeds :data:`MAX_SCANS`."""
    scans, position = 0, 2
    while scans <= MAX_SCANS and (marker := _MARKER.search(data, position)):
        position = marker.end()
        if marker[1] == b"\xd9":  # end of the image; another file may follow
            break
        scans += marker[1] == b"\xda"
        # Skip the segment: it may hold another image, such as a thumbnail.
        position += int.from_bytes(data[position : position + 2], "big")
    return scans


@contextmanager
def _convert_errors(data: bytes, name: str) -> Iterator[None]:
    """Convert any exception raised in the ``with`` block to :class:`ImageError`.

    ``data`` is the content of the image file and ``name`` its name in error messages.
    """
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        # The warning is raised only if Python turns warnings into errors.
        raise ImageError(f"{name}: the image has {_PIXEL_LIMIT}") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: {describe_unsupported(data)}") from None
    except Exception as error:
        # Plugins raise anything on damaged files, from OSError to struct.error and zlib.error.
        raise ImageError(f"{name}: damaged or truncated ({error}); replace it") from None
