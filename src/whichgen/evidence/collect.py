"""Collect provenance evidence from an image file."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from whichgen.data.reading import open_image, read_header
from whichgen.evidence.bounded import clean
from whichgen.evidence.contradict import find_contradictions
from whichgen.evidence.credentials import read_credentials
from whichgen.evidence.exif import read_exif
from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.iptc import read_iptc, read_xmp
from whichgen.evidence.jpeg import read_jpeg
from whichgen.evidence.text import read_text

__all__ = ["MAX_FINDINGS", "Evidence", "Finding", "collect", "find_contradictions"]

#: Maximum number of findings kept per image.
MAX_FINDINGS = 50

#: Always shown with evidence.
CAVEAT = "the absence of metadata proves nothing, and metadata can be forged."


def collect(data: bytes, name: str = "image") -> Evidence:
    """Collect provenance evidence from the metadata and JPEG quantization tables of an image file.

    At most :data:`MAX_FINDINGS` distinct findings are returned. ``Evidence.notes`` reports metadata
    that can't be read and the number of omitted findings.

    Parameters
    ----------
    data
        Content of the image file.
    name
        Name of the file in error messages.

    Raises
    ------
    ImageError
        The file is not a valid image (see :func:`whichgen.data.reading.read_header`).
    """
    read_header(data, name)
    with open_image(data, name) as image:
        # MPO: JPEG files of several pictures, a format of its own only in Pillow.
        mime = Image.MIME.get("JPEG" if image.format == "MPO" else image.format or "", "")
        readers: dict[str, Callable[[], Evidence]] = {
            "text fields": lambda: read_text(image),
            "Content Credentials": lambda: read_credentials(data, mime),
            "XMP": lambda: read_xmp(image),
            "IPTC": lambda: read_iptc(image),
            "EXIF": lambda: read_exif(image),
            "JPEG tables": lambda: read_jpeg(image),
        }
        findings: dict[Finding, None] = {}  # ordered set
        notes: list[str] = []
        for part, read in readers.items():
            try:
                evidence = read()
            except Exception as error:  # parsers raise many types on hostile bytes
                notes.append(f"{part} can't be read ({type(error).__name__}: {error})")
                continue
            findings |= dict.fromkeys(evidence.findings)
            notes += evidence.notes
    if len(findings) > MAX_FINDINGS:
        notes.append(f"{len(findings) - MAX_FINDINGS} more findings omitted")
    return Evidence(tuple(findings)[:MAX_FINDINGS], tuple(clean(note) for note in notes))
