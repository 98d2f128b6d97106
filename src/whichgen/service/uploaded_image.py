"""Check uploaded images, and read their headers and provenance evidence."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass

from whichgen.data.images.decoding import ImageHeader, read_header
from whichgen.errors import ImageError
from whichgen.evidence.collect import collect_if_readable
from whichgen.evidence.evidence_options import EvidenceOptions
from whichgen.evidence.finding import Evidence
from whichgen.io.file_names import escape_name
from whichgen.service.limits import Limits
from whichgen.service.upload_checks import check_image_bytes, check_image_pixels

#: Maximum length of a file name. Names are displayed, but never used as paths.
_NAME_LENGTH = 200


@dataclass(frozen=True)
class Upload:
    """One uploaded image.

    Parameters
    ----------
    name
        File name sent by the client, without folders or control characters; 1 to 200 characters.
    data
        Content of the file.
    sha256
        SHA-256 digest of the content: 64 hexadecimal digits.
    header
        Format, width and height of the image; ``None`` if the image is rejected.
    error
        Reason for rejecting the image; empty if it is accepted.
    evidence
        Provenance evidence in the file; ``None`` if it was not collected, nothing can be read from
        the file, or the file exceeds a limit.
    """

    name: str
    data: bytes
    sha256: str
    header: ImageHeader | None = None
    error: str = ""
    evidence: Evidence | None = None


def inspect_upload(
    name: str, data: bytes, limits: Limits, evidence: EvidenceOptions | None = None
) -> Upload:
    """Check an uploaded image file, read its header, and collect its provenance evidence.

    If the file exceeds a limit or its header can't be read, :attr:`Upload.error` states the reason.
    The pixels are not checked for damage.

    Parameters
    ----------
    name
        File name sent by the client.
    data
        Content of the file.
    limits
        Limits of the service, of which those on image files are used.
    evidence
        Options for collecting the evidence; ``None`` to collect none.
    """
    name = _clean_name(name)
    digest = hashlib.sha256(data).hexdigest()
    header = None
    try:
        check_image_bytes(name, data, limits)
        header = read_header(data, name)
        check_image_pixels(name, header, limits)
    except ImageError as error:
        # Metadata can be readable even if the header is not.
        is_damaged = header is None and 0 < len(data) <= limits.image_bytes
        file_evidence = collect_if_readable(data, name, evidence) if is_damaged else None
        return Upload(name, data, digest, error=str(error), evidence=file_evidence)
    file_evidence = collect_if_readable(data, name, evidence)
    return Upload(name, data, digest, header, evidence=file_evidence)


def _clean_name(name: str) -> str:
    """Remove folders and control characters from a file name; keep at most 200 characters.

    Return "image" if no characters remain.
    """
    base_name = escape_name(name.replace("\\", "/").rsplit("/", 1)[-1])
    printable = "".join(c for c in base_name if unicodedata.category(c)[0] != "C")
    return printable[:_NAME_LENGTH] or "image"
