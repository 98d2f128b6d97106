"""Read, hash and decode image files, check them against limits, and make thumbnails."""

from __future__ import annotations

import errno
import hashlib
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError, WebPImagePlugin
from PIL.IcoImagePlugin import IcoFile

from whichgen.data.images.formats import FORMATS
from whichgen.data.images.image_limits import MAX_IMAGE_BYTES, MAX_PIXELS, MAX_RATIO, MAX_SCANS
from whichgen.data.images.optional_formats import find_optional_format, open_optional
from whichgen.data.images.repair import repair_jpeg, repair_png
from whichgen.data.images.unsupported_files import CAMERA_RAW, describe_unsupported
from whichgen.errors import ImageError
from whichgen.io.untrusted_files import read_regular_file

assert WebPImagePlugin  # imported so that Pillow opens WebP files without importing all plugins

#: First bytes of an icon (ICO).
_ICON = b"\0\0\1\0"

#: Bytes that occur in files with a color profile: the signature of a profile, and the type of a PNG
#: chunk with a profile.
_PROFILE_MARKS = (b"acsp", b"iCCP")

#: Numbers of the TIFF tags for the type of the image (1 for a reduced copy of another image) and
#: for the version of Adobe DNG.
_SUBFILE_TYPE, _DNG_VERSION = 254, 50706

#: Key in ``image.info`` of the note about the repair of a JPEG file.
REPAIR_NOTE = "repair_note"

_NO_END_MARKER = "the end marker of the JPEG file is missing; the file may have been cut"

#: JPEG marker that begins a segment or ends the image. In the data of a scan, FF is followed by 00
#: or by a restart marker (D0 to D7).
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")

#: End of the error message for an image with too many pixels.
_PIXEL_LIMIT = f"more pixels than the limit of {MAX_PIXELS // 10**6} million; downscale it"


def read_bytes(path: Path) -> bytes:
    """Return the content of an image file without decoding it.

    Parameters
    ----------
    path
        Path of the file.

    Raises
    ------
    ImageError
        The file is missing, unreadable, empty, not a regular file, or larger than
        :data:`~whichgen.data.images.image_limits.MAX_IMAGE_BYTES`.
    """
    return load_bytes(lambda: read_regular_file(path, MAX_IMAGE_BYTES), str(path))


def load_bytes(load: Callable[[], bytes], name: str) -> bytes:
    """Return the content of an image file; convert read errors to :class:`ImageError`.

    Parameters
    ----------
    load
        Function that reads the file and returns its content.
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
        advice = "Check its path and permissions"
        if error.errno == errno.EFBIG:
            advice = "Replace it with a smaller file"
        raise ImageError(f"{name}: can't be read ({error.strerror or error}). {advice}.") from None
    if not data:
        raise ImageError(f"{name}: the file is empty; replace it")
    return data


def hash_image(data: bytes) -> bytes:
    """Return the 20-byte BLAKE2b digest of the content of an image file.

    The keys of the feature store are computed from this digest. BLAKE2b gets a personalization
    string if the file seems to have a color profile (contains ``acsp`` or ``iCCP``), because early
    versions of whichgen ignored profiles: the features that they stored for such a file must not be
    reused.

    Parameters
    ----------
    data
        Content of the file.
    """
    has_profile = any(mark in data for mark in _PROFILE_MARKS)
    return hashlib.blake2b(
        data, digest_size=20, person=b"color-profile" if has_profile else b""
    ).digest()


@dataclass(frozen=True)
class ImageHeader:
    """Format and size of an image file.

    Parameters
    ----------
    format
        Name of the format in Pillow.
    width, height
        Size in pixels, before EXIF rotation (TIFF: after EXIF rotation).
    """

    format: str
    width: int
    height: int


def read_header(data: bytes, name: str = "image") -> ImageHeader:
    """Return the format and size of an image file.

    Pixels are not decoded, except for ICO and JPEG XL files.

    Parameters
    ----------
    data
        Content of the file.
    name
        Name of the image in error messages.

    Raises
    ------
    ImageError
        The file is not an image in a supported format, its format needs a package that is not
        installed, or the file is damaged or exceeds the limit of pixels, aspect ratio or JPEG scans
        (:mod:`whichgen.data.images.image_limits`).
    """
    image = open_image(data, name)
    return ImageHeader(str(image.format), image.width, image.height)


@dataclass(frozen=True)
class DecodedFile:
    """Content of an image file, and its decoded image before and after conversion to sRGB.

    Parameters
    ----------
    data
        Content of the file.
    stored_image
        The decoded image with the format, color mode, rotation and metadata of the file.
    pixels
        The image as a viewer shows it: upright, in 8-bit sRGB (:func:`decode_image`).
    """

    data: bytes
    stored_image: Image.Image
    pixels: Image.Image


def decode_image(data: bytes, name: str = "image") -> Image.Image:
    """Decode an image file to 8-bit sRGB.

    The EXIF rotation and the color profile are applied, transparent pixels are composited on white,
    16-bit values are scaled to 8 bits, and CMYK and palette colors are converted
    (:func:`~whichgen.data.images.rgb_conversion.to_rgb`). Only the first frame of an animation is
    decoded. Damage that viewers ignore is repaired: damaged optional chunks of a PNG file, and the
    missing end marker of an otherwise complete JPEG file. ``info["repair_note"]`` of the result
    reports a missing end marker.

    Parameters
    ----------
    data
        Content of the file.
    name
        Name of the image in error messages.

    Raises
    ------
    ImageError
        See :func:`read_header`, or the pixels can't be decoded.
    """
    return decode_file(data, name).pixels


def decode_file(data: bytes, name: str = "image") -> DecodedFile:
    """Decode an image file as :func:`decode_image` does; also return the unconverted image.

    Parameters
    ----------
    data
        Content of the file.
    name
        Name of the image in error messages.

    Raises
    ------
    ImageError
        See :func:`decode_image`.
    """
    # This module imports NumPy, which read_header does not need.
    from whichgen.data.images.rgb_conversion import to_rgb

    with _convert_errors(data, name):
        image = _load_image(data, name)
        rgb = to_rgb(_rotate_upright(image))
        if note := image.info.get(REPAIR_NOTE):
            rgb.info[REPAIR_NOTE] = note
        return DecodedFile(data, image, rgb)


def _load_image(data: bytes, name: str) -> Image.Image:
    """Open an image file, and decode its pixels without converting them.

    Damage that viewers ignore is repaired (:func:`decode_image`).

    Raises
    ------
    Exception
        :class:`ImageError` if the file can't be opened or exceeds a limit, or any exception that
        Pillow raises when it decodes the pixels.
    """
    image, note = open_image(data, name), ""
    try:
        image.load()
    except Exception:  # Pillow raises many exception types on damaged files
        repaired_data = repair_png(data)
        if repaired_data is None:
            repaired_data, note = repair_jpeg(data), _NO_END_MARKER
        if repaired_data is None:
            raise
        image = open_image(repaired_data, name)
        image.load()
    if note:
        image.info[REPAIR_NOTE] = note
    _check_size(image, name)  # the header of a HEIC file may state a different size
    return image


def read_image(path: Path) -> Image.Image:
    """Read an image file and decode it to 8-bit sRGB (see :func:`decode_image`).

    Parameters
    ----------
    path
        Path of the file.

    Raises
    ------
    ImageError
        See :func:`read_bytes` and :func:`decode_image`.
    """
    return decode_image(read_bytes(path), str(path))


def open_image(data: bytes, name: str = "image") -> Image.Image:
    """Open an image file, and check it against :mod:`whichgen.data.images.image_limits`.

    Pixels are not decoded, except for ICO and JPEG XL files.

    Parameters
    ----------
    data
        Content of the file.
    name
        Name of the image in error messages.

    Raises
    ------
    ImageError
        See :func:`read_header`.
    """
    with _convert_errors(data, name):
        return _open_checked(data, name)


def _open_checked(data: bytes, name: str) -> Image.Image:
    """Open an image file and check its limits, without converting the exceptions of Pillow."""
    image: Image.Image
    if data.startswith(_ICON):
        # Pillow decodes an icon when it opens it. An icon contains complete image files, whose
        # sizes can differ from the sizes in its directory.
        icon = IcoFile(io.BytesIO(data))
        image = icon.getimage(icon.entry[0].dim)
        image.format = "ICO"
    else:
        image = _open_with_pillow(data, name)
    _check_size(image, name)
    if image.format == "TIFF" and _is_camera_raw(image):
        raise ImageError(f"{name}: {CAMERA_RAW.description}")
    if image.format in ("JPEG", "MPO") and _count_scans(data) > MAX_SCANS:
        raise ImageError(f"{name}: the JPEG has over {MAX_SCANS} scans; save it as a baseline JPEG")
    return image


def _open_with_pillow(data: bytes, name: str) -> Image.Image:
    if data.startswith(CAMERA_RAW.starts):  # Pillow would open the thumbnails of some raw files
        raise UnidentifiedImageError(name)
    if optional := find_optional_format(data):
        return open_optional(data, name, optional)
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception:  # Pillow raises many exception types on damaged files
        repaired_data = repair_png(data)
        if repaired_data is None:
            raise
        return Image.open(io.BytesIO(repaired_data), formats=FORMATS)


def _check_size(image: Image.Image, name: str) -> None:
    """Raise :class:`ImageError` if an image has too many pixels or an extreme aspect ratio."""
    size = f"{image.width} × {image.height}"
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{name}: the image has {size} pixels, {_PIXEL_LIMIT}")
    if max(image.size) > MAX_RATIO * min(image.size):
        raise ImageError(
            f"{name}: the image has an aspect ratio over {MAX_RATIO} ({size} pixels); crop it"
        )


def _is_camera_raw(image: Image.Image) -> bool:
    """Return whether a TIFF file is a camera raw file, of which Pillow opens only the thumbnail."""
    tags: Any = getattr(image, "tag_v2", {})
    return _DNG_VERSION in tags or tags.get(_SUBFILE_TYPE) == 1


def make_thumbnail(
    image: Image.Image, side: int = 96, *, kind: str = "JPEG", quality: int = 80
) -> bytes:
    """Scale an RGB image down to at most ``side`` pixels per side, and return the encoded file.

    The aspect ratio is preserved, and smaller images are not enlarged. All metadata (EXIF,
    comments, color profile) is removed.

    Parameters
    ----------
    image
        The RGB image.
    side
        Maximum width and height in pixels.
    kind
        Name of the thumbnail's format in Pillow.
    quality
        Compression quality, 0 to 100.
    """
    small = image.copy()
    small.info.clear()  # otherwise, Pillow would save the comment and color profile
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def _rotate_upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF metadata is damaged, but the pixels are intact
        return image.copy()


def _count_scans(data: bytes) -> int:
    """Return the number of scans of a JPEG file, or ``MAX_SCANS + 1`` for a larger number."""
    scans, position = 0, 2
    while scans <= MAX_SCANS and (marker := _MARKER.search(data, position)):
        position = marker.end()
        if marker[1] == b"\xd9":  # end of the image; another file may follow
            break
        scans += marker[1] == b"\xda"
        # Skip the segment, because it can contain another image, such as a thumbnail.
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
    except Image.DecompressionBombWarning as error:
        # Raised only if the user has turned warnings into errors. Its limit is below MAX_PIXELS.
        raise ImageError(f"{name}: {str(error).rstrip('.')}; downscale it") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name}: the image has {_PIXEL_LIMIT}") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: {describe_unsupported(data)}") from None
    except Exception as error:
        # Pillow raises many exception types on damaged files, such as OSError and struct.error.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name}: can't be decoded ({reason}); replace it") from None
