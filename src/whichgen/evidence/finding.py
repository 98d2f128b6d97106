"""What one file says of its origin: findings and notes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from whichgen.evidence.bounded import clean

#: What a finding speaks for. ``edited``: an existing picture was changed, also with a generator.
Says = Literal["synthetic", "camera", "edited", "neutral"]


@dataclass(frozen=True)
class Finding:
    """One thing that the file says.

    Every string is one printable line of at most 300 characters, whatever was given.

    Parameters
    ----------
    kind
        Where it stands: ``credentials``, ``xmp``, ``iptc``, ``exif``, ``text`` or ``jpeg``.
    title, detail
        What it is, and what it says in full.
    says
        What it speaks for.
    generator
        The generator's name as the metadata gives it; empty if they give none.
    """

    kind: str
    title: str
    detail: str = ""
    says: Says = "neutral"
    generator: str = ""

    def __post_init__(self) -> None:
        # Here, so that no reader can forget it.
        for field in fields(self):
            object.__setattr__(self, field.name, clean(getattr(self, field.name)))


@dataclass(frozen=True)
class Evidence:
    """All that one file says, and notes on what could not be read."""

    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"findings": [asdict(f) for f in self.findings], "notes": list(self.notes)}
