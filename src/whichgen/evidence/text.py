"""Extract provenance evidence from PNG text fields, JPEG comments and GIF comments."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from whichgen.evidence.finding import Evidence
from whichgen.evidence.parameters import interpret

#: Maximum number of text fields read per file.
_MAX_FIELDS = 100

#: Fields read by other modules.
_ELSEWHERE = frozenset({"XML:com.adobe.xmp", "Raw profile type exif", "Raw profile type iptc"})


def read_text(image: Image.Image) -> Evidence:
    """Extract provenance evidence from PNG text fields, JPEG comments and GIF comments.

    PNG text fields are the chunks tEXt, iTXt and zTXt. Only the first 100 fields and comments are
    read; a note is added if there are more. Pillow rejects PNG images with more than 1 MiB of
    decompressed text in one field or 64 MiB in all fields.
    """
    if isinstance(image, PngImageFile):
        image.load()  # reads text chunks after the pixels, too
    texts = list(islice(_iterate_texts(image), _MAX_FIELDS + 1))
    findings = [
        finding for field, text in texts[:_MAX_FIELDS] for finding in interpret("text", field, text)
    ]
    truncated = len(texts) > _MAX_FIELDS
    note = f"only the first {_MAX_FIELDS} text fields were read"
    return Evidence(tuple(findings), (note,) if truncated else ())


def _iterate_texts(image: Image.Image) -> Iterator[tuple[str, str]]:
    comment = image.info.get("comment")
    if isinstance(comment, bytes):
        yield "comment", comment.decode("utf-8", errors="replace")
    if isinstance(image, PngImageFile):
        for field, text in image.text.items():
            if field not in _ELSEWHERE:
                yield field, str(text)
