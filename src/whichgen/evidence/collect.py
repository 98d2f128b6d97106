"""All evidence of one image, and where it disagrees with the model's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PIL import Image

from whichgen.data.reading import open_image, read_header
from whichgen.evidence.bounded import clean
from whichgen.evidence.contradict import contradictions
from whichgen.evidence.credentials import read_credentials
from whichgen.evidence.exif import read_exif
from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.iptc import read_iptc, read_xmp
from whichgen.evidence.jpeg import read_jpeg
from whichgen.evidence.text import read_text

__all__ = ["MOST_FINDINGS", "Evidence", "Finding", "collect", "contradictions"]

#: Findings of one image that are kept.
MOST_FINDINGS = 50

#: What must always be said beside evidence.
CAVEAT = "the absence of metadata proves nothing, and metadata can be forged."


def collect(data: bytes, name: str = "image") -> Evidence:
    """All that an image file says of its origin.

    A part that can't be read, as hostile files have, becomes a note.

    Parameters
    ----------
    data
        The file's content.
    name
        What the file is called in an error.

    Raises
    ------
    ImageError
        It is no image (see :func:`whichgen.data.reading.read_header`).
    """
    read_header(data, name)
    with open_image(data, name) as image:
        # Cameras' files of several pictures (MPO) are JPEG to everyone but Pillow.
        mime = Image.MIME.get("JPEG" if image.format == "MPO" else image.format or "", "")
        return _joined(
            {
                "text fields": lambda: read_text(image),
                "Content Credentials": lambda: read_credentials(data, mime),
                "XMP": lambda: read_xmp(image),
                "IPTC": lambda: read_iptc(image),
                "EXIF": lambda: read_exif(image),
                "JPEG tables": lambda: read_jpeg(image),
            }
        )


def _joined(readers: Mapping[str, Callable[[], Evidence]]) -> Evidence:
    findings: dict[Finding, None] = {}  # what is said twice in the same words is told once
    notes: list[str] = []
    for part, read in readers.items():
        try:
            found = read()
        except Exception as error:  # hostile bytes make parsers raise what they will
            notes.append(f"{part} can't be read ({type(error).__name__}: {error})")
            continue
        findings |= dict.fromkeys(found.findings)
        notes += found.notes
    if len(findings) > MOST_FINDINGS:
        notes.append(f"{len(findings) - MOST_FINDINGS} more findings are left out")
    return Evidence(tuple(findings)[:MOST_FINDINGS], tuple(clean(note) for note in notes))
