"""Which images are searched for hidden data in the values of their pixels."""

from __future__ import annotations

from PIL import Image

#: Maximum number of pixels. Generated images are smaller, larger images take long to decode, and
#: resizing, which nearly all of them went through, destroys hidden data.
MAX_PIXELS = 1 << 22


def has_examined_pixels(image: Image.Image) -> bool:
    """Return whether hidden data is searched in the colors of an image."""
    return image.mode in ("RGB", "RGBA") and image.width * image.height <= MAX_PIXELS
