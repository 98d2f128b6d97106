"""From bytes to pixels: one place where images are decoded, and refused."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from whichgen.errors import ImageError

#: Images of more pixels are refused before they are decoded (a decompression bomb's protection);
#: 200 million is above every camera on the market.
MAX_PIXELS = 200_000_000


def read_bytes(path: Path) -> bytes:
    """The content of an image file, or :class:`ImageError`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except OSError as error:
        raise ImageError(f"{path}: can't be read ({error.strerror})") from None
    if not data:
        raise ImageError(f"{path}: the file is empty")
    return data


def image_digest(data: bytes) -> bytes:
    """A 20-byte digest of an image's file content: its identity in the feature store."""
    return hashlib.blake2b(data, digest_size=20).digest()


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
    try:
        with warnings.catch_warnings():
            # Our own limit is checked below, before any pixel is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(
                f"{name}: {image.width} × {image.height} pixels is over the limit of "
                f"{MAX_PIXELS // 10**6} million; make it smaller first"
            )
        image.load()
        return to_rgb(ImageOps.exif_transpose(image))
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"{name}: more pixels than the limit of {MAX_PIXELS}") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not an image that can be read") from None
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError) as error:
        # Pillow's plugins raise all of these on damaged files.
        raise ImageError(f"{name}: damaged or truncated ({error})") from None


def read_image(path: Path) -> Image.Image:
    """Reads and decodes an image file to 8-bit RGB (see :func:`decode`)."""
    return decode(read_bytes(path), str(path))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image as 8-bit RGB (see :func:`decode`)."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return _grey_to_rgb(image, top=65535.0)
    if image.mode in ("I", "F"):
        # These modes do not say their range: 0…1, 8 bits or 16 bits, whichever holds the values.
        brightest = float(np.asarray(image, dtype=np.float64).max(initial=0.0))
        tops = (1.0, 255.0, 65535.0, np.inf)
        return _grey_to_rgb(image, top=next(t for t in tops if brightest <= t))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _grey_to_rgb(image: Image.Image, top: float) -> Image.Image:
    # Pillow clips what is over 255; a 16-bit image would come out white.
    if not np.isfinite(top):
        raise ValueError("grey values over 16 bits")
    values = np.asarray(image, dtype=np.float64) * (255.0 / top)
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).convert("RGB")
