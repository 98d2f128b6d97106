"""Read all metadata of an image file except Content Credentials."""

from __future__ import annotations

from PIL import Image

from whichgen.evidence.exif import read_exif
from whichgen.evidence.finding import Evidence
from whichgen.evidence.iptc import read_iptc, read_xmp
from whichgen.evidence.jpeg import read_jpeg
from whichgen.evidence.readers import run_readers
from whichgen.evidence.text import read_text


def read_metadata(data: bytes, image: Image.Image | None) -> Evidence:
    """Read text fields, XMP, IPTC, EXIF and JPEG tables.

    Parameters
    ----------
    data
        Content of the image file.
    image
        The image as opened by Pillow; ``None`` if Pillow can't open it.
    """
    if image is None:
        return Evidence()
    return run_readers(
        {
            "text fields": lambda: read_text(image),
            "XMP": lambda: read_xmp(image),
            "IPTC": lambda: read_iptc(image),
            "EXIF": lambda: read_exif(image),
            "JPEG tables": lambda: read_jpeg(image),
        }
    )
