"""Data classes for provenance evidence: a single finding, and all findings of an image file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from whichgen.evidence.untrusted_text import clean

#: What a finding indicates (see :attr:`Finding.indicates`).
Indication = Literal["synthetic", "camera", "edited", "neutral"]

#: Strength of evidence (see :attr:`Finding.strength`).
Strength = Literal["strong", "weak"]


@dataclass(frozen=True)
class Finding:
    """One piece of provenance evidence.

    Every string is reduced to one printable line of at most 300 characters.

    Parameters
    ----------
    kind
        Type of evidence: ``credentials``, ``watermark``, ``xmp``, ``iptc``, ``exif``, ``text``
        (text fields, comments and hidden parameters) or ``jpeg``.
    title
        Short description.
    detail
        Further details; may be empty.
    indicates
        ``synthetic`` (made by a generator), ``camera`` (captured by a camera or digitized),
        ``edited`` (existing images were changed or combined) or ``neutral`` (none of these).
    generator
        Generator that the evidence indicates, or program that ran the generator; empty if there is
        neither.
    strength
        ``weak`` for a statement in free text, such as "made with Midjourney" in a caption, for a
        camera in unsigned metadata, and for other uncertain evidence; otherwise ``strong``. Always
        empty for a ``neutral`` finding.
    origin
        Origin of the generator (:mod:`whichgen.evidence.generator_aliases`), which
        :func:`whichgen.evidence.collect.collect` adds; empty if it is unknown.
    statement
        Phrase for the summary (:mod:`whichgen.evidence.summary`), which adds the prefix ``XMP``,
        ``IPTC`` or ``EXIF``. If the phrase is empty, the summary uses the title, or omits a
        ``neutral`` finding.
    trusted
        Whether the statement is in a manifest with a trusted signer (see
        :class:`~whichgen.evidence.content_credentials.manifest_status.ManifestStatus`).
    """

    kind: str
    title: str
    detail: str = ""
    indicates: Indication = "neutral"
    generator: str = ""
    strength: Strength | Literal[""] = "strong"
    origin: str = ""
    statement: str = ""
    trusted: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                object.__setattr__(self, field.name, clean(value))
        if self.indicates == "neutral":
            object.__setattr__(self, "strength", "")


@dataclass(frozen=True)
class Evidence:
    """Provenance evidence from an image file.

    Parameters
    ----------
    findings
        Individual pieces of evidence; empty if there are none.
    notes
        Sentences about parts of the file that are damaged or were not read or not verified, and
        about omitted findings.
    """

    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible dictionary with the keys ``findings`` and ``notes``."""
        return {"findings": [asdict(f) for f in self.findings], "notes": list(self.notes)}
