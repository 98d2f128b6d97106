"""Uploaded images: read within limits, told apart by content, and never written to disk unasked."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whichgen.data.reading import ImageHeader, read_header
from whichgen.errors import ImageError
from whichgen.evidence.collect import Evidence, collect
from whichgen.io.atomic import replace_file
from whichgen.service.settings import MIB, Limits

#: A name is shown to people; nothing is looked up by it.
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Upload:
    """One image of a request.

    Parameters
    ----------
    name
        What the client calls it.
    data
        The file's content.
    sha256
        Its digest, 64 hex digits.
    header
        Format and size in pixels, by content; ``None`` if it is refused.
    error
        Why it is refused; empty if it is not.
    evidence
        What the file says of itself, if it is not refused.
    """

    name: str
    data: bytes
    sha256: str
    header: ImageHeader | None
    error: str
    evidence: Evidence | None = None


def inspect(name: str, data: bytes, limits: Limits) -> Upload:
    """An upload of this content; one that is over a limit or is no image carries its ``error``."""
    name = _clean(name)
    found, error = None, ""
    if len(data) > limits.image_bytes:
        error = (
            f"{name}: {len(data) / MIB:.1f} MiB; an image may have {limits.image_bytes / MIB:.1f}"
        )
    else:
        try:
            found = read_header(data, name)
            if found.width * found.height > limits.image_pixels:
                error = (
                    f"{name}: {found.width} × {found.height} pixels; an image may have "
                    f"{limits.image_pixels / 10**6:g} million"
                )
        except ImageError as problem:
            error = str(problem)
    digest = hashlib.sha256(data).hexdigest()
    if error:
        return Upload(name, data, digest, None, error)
    return Upload(name, data, digest, found, "", collect(data, name))


def keep(uploads: Sequence[Upload], folder: Path) -> None:
    """Writes the images, each under its digest, into a folder."""
    for upload in uploads:
        if upload.header is None:
            continue
        file = folder / f"{upload.sha256}.{upload.header.format.lower()}"
        if not file.exists():
            with replace_file(file) as temporary:
                temporary.write_bytes(upload.data)


def _clean(name: str) -> str:
    """A file's name without its folder and without characters that do something."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(c for c in last if unicodedata.category(c)[0] != "C")
    return kept[:_LONGEST_NAME] or "image"
