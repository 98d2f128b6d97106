"""Text fields of PNG (tEXt, iTXt, zTXt) and comments of JPEG and GIF."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from whichgen.evidence.finding import Evidence
from whichgen.evidence.parameters import interpret

#: Text fields of one file that are read.
_MOST_FIELDS = 100

#: Read where they belong.
_ELSEWHERE = frozenset({"XML:com.adobe.xmp", "Raw profile type exif", "Raw profile type iptc"})


def read_text(image: Image.Image) -> Evidence:
    """What the text fields say.

    Compressed text is bounded by Pillow: 1 MiB a field and 64 MiB together, or else the image is
    refused.
    """
    if isinstance(image, PngImageFile):
        image.load()  # what stands behind the pixels is read with them
    texts = list(islice(_texts(image), _MOST_FIELDS + 1))
    findings = [
        finding
        for field, text in texts[:_MOST_FIELDS]
        for finding in interpret("text", field, text)
    ]
    too_many = len(texts) > _MOST_FIELDS
    note = f"only the first {_MOST_FIELDS} text fields were read"
    return Evidence(tuple(findings), (note,) if too_many else ())


def _texts(image: Image.Image) -> Iterator[tuple[str, str]]:
    comment = image.info.get("comment")
    if isinstance(comment, bytes):
        yield "comment", comment.decode("utf-8", errors="replace")
    if isinstance(image, PngImageFile):
        for field, text in image.text.items():
            if field not in _ELSEWHERE:
                yield field, str(text)
