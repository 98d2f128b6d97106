"""Uploaded images: checked against the limits, identified by content, stored only on request."""

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

#: Maximum length of the file name that is shown; names are never used to open a file.
_NAME_LENGTH = 200


@dataclass(frozen=True)
class Upload:
    """One image of a request.

    Parameters
    ----------
    name
        File name as the client gave it, without folders and control characters.
    data
        Content of the file.
    sha256
        Digest of the content: 64 hex digits.
    header
        Format and size in pixels, from the content; ``None`` if the image is refused.
    error
        Reason for refusing the image; empty if it is accepted.
    evidence
        Provenance evidence in the file; ``None`` if the image is refused.
    """

    name: str
    data: bytes
    sha256: str
    header: ImageHeader | None = None
    error: str = ""
    evidence: Evidence | None = None


def inspect_upload(name: str, data: bytes, limits: Limits) -> Upload:
    """Check one uploaded file; ``error`` is set if it exceeds a limit or is not an image."""
    name = _clean_name(name)
    digest = hashlib.sha256(data).hexdigest()
    try:
        if len(data) > limits.image_bytes:
            raise ImageError(
                f"{name}: the file has {len(data) / MIB:.1f} MiB; the maximum is "
                f"{limits.image_bytes / MIB:.1f} MiB"
            )
        header = read_header(data, name)
        if header.width * header.height > limits.image_pixels:
            raise ImageError(
                f"{name}: the image has {header.width} × {header.height} pixels; "
                f"the maximum is {limits.image_pixels / 10**6:g} million"
            )
        return Upload(name, data, digest, header, evidence=collect(data, name))
    except ImageError as error:
        return Upload(name, data, digest, error=str(error))


def store_uploads(uploads: Sequence[Upload], folder: Path) -> None:
    """Write the accepted images to a folder, each under its digest."""
    for upload in uploads:
        if upload.header is None:
            continue
        file = folder / f"{upload.sha256}.{upload.header.format.lower()}"
        if not file.exists():
            with replace_file(file) as temporary:
                temporary.write_bytes(upload.data)


def _clean_name(name: str) -> str:
    """Remove folders and control characters from a file name."""
    base_name = name.replace("\\", "/").rsplit("/", 1)[-1]
    printable = "".join(c for c in base_name if unicodedata.category(c)[0] != "C")
    return printable[:_NAME_LENGTH] or "image"
