"""Collect provenance evidence from an image file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from PIL import Image

from whichgen.data.images.decoding import open_image
from whichgen.errors import ImageError
from whichgen.evidence.containers.bmff_blocks import find_bmff_mime
from whichgen.evidence.content_credentials.read_credentials import prepare_parser, read_credentials
from whichgen.evidence.evidence_options import EvidenceOptions
from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.generator_aliases import resolve_origin
from whichgen.evidence.hidden_data.examined_pixels import has_examined_pixels
from whichgen.evidence.read_metadata import read_metadata
from whichgen.evidence.run_readers import run_readers
from whichgen.evidence.untrusted_text import clean
from whichgen.phrases import format_count

__all__ = ["MAX_FINDINGS", "Evidence", "Finding", "collect"]

#: Maximum number of findings per image.
MAX_FINDINGS = 50

#: Format of files that Pillow can't open, by their first three bytes.
_FORMATS = {b"\x89PN": "PNG", b"\xff\xd8\xff": "JPEG", b"RIF": "WEBP"}

#: Caveat that is printed with the evidence, after another clause or the word "note:".
CAVEAT = "the absence of metadata proves nothing, and metadata can be forged."


def collect(
    data: bytes,
    name: str = "image",
    *,
    trust_anchors: str = "",
    aliases: Mapping[str, str] | None = None,
    decoded: Image.Image | None = None,
) -> Evidence:
    """Collect provenance evidence from an image file.

    The evidence is in Content Credentials, metadata, watermarks, hidden text and JPEG tables.

    Parameters
    ----------
    data
        Content of the image file.
    name
        Name of the file in error messages.
    trust_anchors, aliases
        See :class:`~whichgen.evidence.evidence_options.EvidenceOptions`.
    decoded
        The decoded image (:attr:`whichgen.data.images.decoding.DecodedFile.stored_image`); ``None``
        to decode the pixels here if a reader needs them.

    Returns
    -------
    Evidence
        At most :data:`MAX_FINDINGS` distinct findings; neutral findings are omitted first. The
        notes report damage, what was not read or not verified, and the number of omitted findings.

    Raises
    ------
    ImageError
        The file can't be opened as an image or exceeds a limit (see
        :func:`whichgen.data.images.decoding.open_image`), and there are no findings.
    """
    prepare_parser(data)
    damage: ImageError | None = None
    image = decoded
    try:
        if image is None:
            image = open_image(data, name)
    except ImageError as error:
        damage = error  # metadata may still be readable
    try:
        # While other metadata is read, the child process for Content Credentials starts.
        other_evidence = run_readers(
            (
                ("invisible watermark", lambda: _read_watermarks(image)),
                ("metadata", lambda: read_metadata(data, image)),
            )
        )
        evidence = run_readers(
            (
                (
                    "Content Credentials",
                    lambda: read_credentials(data, _find_mime(data, image), trust_anchors),
                ),
                ("other evidence", lambda: other_evidence),
            )
        )
    finally:
        if image is not None and image is not decoded:
            image.close()
    if damage is not None and not evidence.findings:
        raise damage
    findings, notes = evidence.findings, list(evidence.notes)
    if damage is not None:
        notes.insert(0, f"the image can't be opened ({damage}); only metadata was read")
    if len(findings) > MAX_FINDINGS:
        notes.append(f"{format_count(len(findings) - MAX_FINDINGS, 'more finding')} omitted")
        # Neutral findings come last, so that they do not displace other findings.
        findings = tuple(sorted(findings, key=lambda f: f.indicates == "neutral"))
    findings_with_origins = (
        replace(finding, origin=resolve_origin(finding.generator, aliases))
        for finding in findings[:MAX_FINDINGS]
    )
    return Evidence(tuple(findings_with_origins), tuple(clean(note) for note in notes))


def collect_if_readable(
    data: bytes,
    name: str,
    options: EvidenceOptions | None,
    decoded: Image.Image | None = None,
) -> Evidence | None:
    """Collect provenance evidence like :func:`collect`, but without raising :class:`ImageError`.

    Parameters
    ----------
    data, name, decoded
        As for :func:`collect`.
    options
        Options of :func:`collect`; ``None`` to collect no evidence.

    Returns
    -------
    Evidence or None
        ``None`` if :func:`collect` raises :class:`ImageError`, or if ``options`` is ``None``.
    """
    if options is None:
        return None
    try:
        return collect(data, name, **vars(options), decoded=decoded)
    except ImageError:
        return None


def _read_watermarks(image: Image.Image | None) -> Evidence:
    if image is None or not has_examined_pixels(image):
        return Evidence()
    from whichgen.evidence.hidden_data.watermarks import read_watermarks  # needs NumPy

    return read_watermarks(image)


def _find_mime(data: bytes, image: Image.Image | None) -> str:
    """Return the MIME type of an image, or an empty string if it is unknown."""
    if mime := find_bmff_mime(data):
        return mime
    # Pillow uses the format name MPO for JPEG files that contain several pictures.
    kind = image.format or "" if image is not None else _FORMATS.get(data[:3], "")
    return Image.MIME.get("JPEG" if kind == "MPO" else kind, "")
