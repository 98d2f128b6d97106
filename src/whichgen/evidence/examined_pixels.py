"""Select the images whose pixels are searched for hidden data."""

from __future__ import annotations

from PIL import Image

#: Maximum number of pixels. Larger images take long to decode, and generated images are smaller
#: unless they were resized, which destroys hidden data.
MAX_PIXELS = 1 << 22


def has_examined_pixels(image: Image.Image) -> bool:
    """Return whether the colors of an image are searched for hidden data."""
    return image.mode in ("RGB", "RGBA") and image.width * image.height <= MAX_PIXELS
