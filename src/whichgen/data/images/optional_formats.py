"""Recognize HEIC and JPEG XL files, and open them with the packages of the extra ``formats``."""

from __future__ import annotations

import io

from PIL import Image

from whichgen.data.images.formats import HEIF, JPEG_XL, OptionalFormat
from whichgen.data.images.image_limits import MAX_PIXELS
from whichgen.errors import ImageError

#: Brands of HEIC files: the four bytes after ``ftyp`` at the start of the file.
_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif"}
)

#: First bytes of a JPEG XL codestream, and of a JPEG XL file with a container.
_JXL_CODESTREAM = b"\xff\x0a"
_JXL_CONTAINER = b"\0\0\0\x0cJXL "

#: Number of bits that store the height or width of a JPEG XL image, for each value of the two bits
#: before them.
_SIDE_BITS = (9, 13, 18, 30)

#: Aspect ratio (width, height) for each value of the three bits after the height. The value 0 means
#: that the width follows.
_RATIOS = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def find_optional_format(data: bytes) -> OptionalFormat | None:
    """Return the optional format of a file, or ``None`` if the file has another format.

    Parameters
    ----------
    data
        Content of the file, or at least its first 12 bytes.
    """
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return HEIF
    if data.startswith((_JXL_CODESTREAM, _JXL_CONTAINER)):
        return JPEG_XL
    return None


def open_optional(data: bytes, name: str, optional: OptionalFormat) -> Image.Image:
    """Open an image file in an optional format with Pillow.

    For HEIC, only the header is read. For JPEG XL, the pixels are decoded, too, because the package
    for JPEG XL can't read the header alone; the number of pixels is checked first.

    Parameters
    ----------
    data
        Content of the file.
    name
        Name of the image in error messages.
    optional
        Format of the file, from :func:`find_optional_format`.

    Raises
    ------
    ImageError
        The package is not installed or can't open the file.
    Image.DecompressionBombError
        A JPEG XL image has more than :data:`~whichgen.data.images.image_limits.MAX_PIXELS` pixels.
    """
    if not optional.is_installed:
        raise ImageError(f"{name}: {optional.name} needs another package; {optional.advice}")
    try:
        return _open(data, optional)
    except Image.DecompressionBombError:
        raise
    except Exception:  # the packages raise many exception types on damaged files
        raise ImageError(
            f"{name}: damaged or unsupported {optional.name} file; replace it or convert it to PNG"
        ) from None


def _open(data: bytes, optional: OptionalFormat) -> Image.Image:
    if optional is HEIF:
        from pillow_heif import HeifImageFile

        return HeifImageFile(io.BytesIO(data))  # type: ignore[no-untyped-call]
    width, height = read_jxl_size(data)
    if width * height > MAX_PIXELS:
        raise Image.DecompressionBombError(f"{width} × {height} pixels")
    import pillow_jxl  # noqa: F401  # registers the format in Pillow

    return Image.open(io.BytesIO(data), formats=(optional.pillow_name,))


def read_jxl_size(data: bytes) -> tuple[int, int]:
    """Return the width and height, in pixels, that the header of a JPEG XL file states.

    Source: the standard ISO/IEC 18181, part 1 (SizeHeader) and part 2 (container).

    Parameters
    ----------
    data
        Content of the file, with or without a container.

    Raises
    ------
    ValueError
        The file contains no codestream.
    """
    position = _find_codestream(data)
    bits = int.from_bytes(data[position + 2 : position + 16], "little")

    def take_bits(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    is_small = take_bits(1)

    def take_side() -> int:
        return (take_bits(5) + 1) * 8 if is_small else take_bits(_SIDE_BITS[take_bits(2)]) + 1

    height = take_side()
    ratio = take_bits(3)
    numerator, denominator = _RATIOS[ratio]
    return (height * numerator // denominator if ratio else take_side()), height


def _find_codestream(data: bytes) -> int:
    """Return the position, in bytes, of the codestream in a JPEG XL file.

    Raises
    ------
    ValueError
        The file contains no codestream.
    """
    if data.startswith(_JXL_CODESTREAM):
        return 0
    position = 0
    while header := data[position : position + 16]:
        size, kind, start = int.from_bytes(header[:4]), header[4:8], position + 8
        if size == 1:
            size, start = int.from_bytes(header[8:16]), position + 16
        if kind in (b"jxlc", b"jxlp"):
            start += 4 if kind == b"jxlp" else 0  # skip the number of the part
            if data.startswith(_JXL_CODESTREAM, start):
                return start
            break
        if size < 8:  # the size is invalid, or 0 for the last box of the file
            break
        position += size
    raise ValueError("no JPEG XL codestream")
