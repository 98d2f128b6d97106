"""Data classes for provenance evidence: a single finding, and all findings of an image file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from whichgen.evidence.text_limits import clean

#: What a finding indicates. ``edited``: an existing picture was changed, possibly by a generator.
Indication = Literal["synthetic", "camera", "edited", "neutral"]

#: ``weak``: anyone may have typed it, as a caption, or it has other explanations.
Strength = Literal["strong", "weak"]


@dataclass(frozen=True)
class Finding:
    """One piece of provenance evidence.

    Every string is reduced to one printable line of at most 300 characters.

    Parameters
    ----------
    kind
        Type of evidence: ``credentials``, ``watermark``, ``xmp``, ``iptc``, ``exif``, ``text`` or
        ``jpeg``.
    title
        Short description.
    detail
        Further details; may be empty.
    indicates
        ``synthetic``, ``camera``, ``edited`` (an existing image was changed) or ``neutral``.
    generator
        Generator as named in the metadata; empty if there is none.
    strength
        ``weak`` for a statement in free text, such as "made with Midjourney" in a caption, and for
        a sign with other explanations; otherwise ``strong``.
    origin
        Origin that the name of the generator stands for (see :mod:`whichgen.evidence.aliases`);
        empty if it is unknown.
    statement
        The finding as a phrase of a summary (:mod:`whichgen.evidence.summary`), without the kind of
        metadata; the title if it is empty.
    trusted
        Whether a signer on the trust list states it.
    """

    kind: str
    title: str
    detail: str = ""
    indicates: Indication = "neutral"
    generator: str = ""
    strength: Strength = "strong"
    origin: str = ""
    statement: str = ""
    trusted: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                object.__setattr__(self, field.name, clean(value))


@dataclass(frozen=True)
class Evidence:
    """Provenance evidence from an image file.

    Parameters
    ----------
    findings
        Individual pieces of evidence; empty if there are none.
    notes
        Sentences about metadata that was not read, not verified or not reported.
    """

    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible dictionary with the keys ``findings`` and ``notes``."""
        return {"findings": [asdict(f) for f in self.findings], "notes": list(self.notes)}
