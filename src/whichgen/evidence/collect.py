"""Collect provenance evidence from an image file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from PIL import Image

from whichgen.data.reading import open_image, read_header
from whichgen.errors import ImageError
from whichgen.evidence.aliases import resolve_origin
from whichgen.evidence.bounded import clean
from whichgen.evidence.contradict import find_contradictions
from whichgen.evidence.credentials import read_credentials
from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.metadata import read_metadata
from whichgen.evidence.readers import run_readers
from whichgen.evidence.watermarks import read_watermarks

__all__ = ["MAX_FINDINGS", "Evidence", "Finding", "collect", "find_contradictions"]

#: Maximum number of findings kept per image.
MAX_FINDINGS = 50

#: Always shown with evidence.
CAVEAT = "the absence of metadata proves nothing, and metadata can be forged."


def collect(
    data: bytes,
    name: str = "image",
    *,
    trust_anchors: str = "",
    aliases: Mapping[str, str] | None = None,
) -> Evidence:
    """Collect provenance evidence from an image file: metadata, watermarks and JPEG tables.

    At most :data:`MAX_FINDINGS` distinct findings are returned. ``Evidence.notes`` reports metadata
    that can't be read and the number of omitted findings.

    Parameters
    ----------
    data
        Content of the image file.
    name
        Name of the file in error messages.
    trust_anchors
        Certificates of trusted signers of Content Credentials in PEM (see
        :func:`whichgen.evidence.trust_list.read_trust_list`); empty if there is no trust list.
    aliases
        More names of generators (see :func:`whichgen.evidence.aliases.read_aliases`).

    Raises
    ------
    ImageError
        The file is not a valid image (see :func:`whichgen.data.reading.read_header`), and no
        metadata can be read from it.
    """
    damage: ImageError | None = None
    image: Image.Image | None = None
    try:
        read_header(data, name)
        image = open_image(data, name)
    except ImageError as error:
        damage = error  # metadata before the damage may still be readable
    try:
        evidence = run_readers(
            {
                "Content Credentials": lambda: read_credentials(
                    data, _find_mime(image), trust_anchors
                ),
                "invisible watermark": lambda: read_watermarks(image) if image else Evidence(),
                "metadata": lambda: read_metadata(data, image),
            }
        )
    finally:
        if image is not None:
            image.close()
    if damage is not None and not evidence.findings:
        raise damage
    findings, notes = evidence.findings, list(evidence.notes)
    if damage is not None:
        notes.insert(0, f"the pixels can't be decoded ({damage}); the metadata before was read")
    if len(findings) > MAX_FINDINGS:
        notes.append(f"{len(findings) - MAX_FINDINGS} more findings omitted")
    resolved = (
        replace(finding, origin=resolve_origin(finding.generator, aliases))
        for finding in findings[:MAX_FINDINGS]
    )
    return Evidence(tuple(resolved), tuple(clean(note) for note in notes))


def _find_mime(image: Image.Image | None) -> str:
    """Return the MIME type of an image, or an empty string if it is unknown."""
    # MPO: JPEG files of several pictures, a format of its own only in Pillow.
    kind = image.format or "" if image is not None else ""
    return Image.MIME.get("JPEG" if kind == "MPO" else kind, "")
