"""Select the images whose colors are searched for hidden data, and decode pixels."""

from __future__ import annotations

from PIL import Image

from whichgen.errors import ImageError

#: Maximum number of pixels of an image whose colors are searched. Larger images take long to
#: decode. They are rarely unscaled outputs of generators, and scaling destroys hidden data.
MAX_EXAMINED_PIXELS = 1 << 22


def has_examined_pixels(image: Image.Image) -> bool:
    """Return whether the colors of an image are searched for hidden data.

    This is the case for images of mode RGB or RGBA with at most :data:`MAX_EXAMINED_PIXELS` pixels.
    """
    return image.mode in ("RGB", "RGBA") and image.width * image.height <= MAX_EXAMINED_PIXELS


def decode_pixels(image: Image.Image) -> None:
    """Decode the pixels of an image that Pillow has opened.

    Raises
    ------
    ImageError
        The pixels can't be decoded, for example because they are truncated.
    """
    try:
        image.load()
    except Exception:  # plugins raise any exception on damaged files
        raise ImageError(
            "the pixels can't be decoded without repair, so they were not searched for hidden data"
        ) from None
