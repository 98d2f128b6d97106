"""Summarize provenance evidence in one sentence, led by the strongest finding.

The order of strength: what a signer on the trust list states; what other evidence of a generator
states, namely Content Credentials, then a watermark, then what programs write; a camera that is
signed; a camera in unsigned metadata; weak evidence of a generator; an editor. A camera comes after
a generator because anyone can write its name, and because pictures that a generator changed may
keep it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from whichgen.constants import REAL, SYNTHETIC
from whichgen.evidence.finding import Evidence, Finding, Indication, Strength
from whichgen.evidence.generators import find_generator

#: What a finding says about the image: ``changed`` means an edit with a generator.
_Claim = Literal["synthetic", "changed", "camera", "edited"]

#: Titles of edits in which a generator took part.
_GENERATED_PART = re.compile(r"^component, |rainedAlgorithmicMedia|compositeSynthetic|\bAI\b|^AI")

#: Names before the phrases of each kind of metadata.
_PREFIXES = {"xmp": "XMP ", "iptc": "IPTC ", "exif": "EXIF "}

_KINDS = ("credentials", "watermark")
_CLAIMS: tuple[_Claim, ...] = ("synthetic", "changed", "camera", "edited")


@dataclass(frozen=True)
class EvidenceSummary:
    """The strongest provenance evidence of an image.

    Parameters
    ----------
    sentence
        What the evidence states, and what contradicts it; empty if there is no evidence.
    indicates
        As in :class:`~whichgen.evidence.finding.Finding`; ``neutral`` without evidence of origin.
    origin
        Origin of a synthetic image: from the table of names, otherwise the generator as named, or
        ``synthetic`` if none is named; ``real`` for a camera; empty for all other images.
    strength
        ``strong`` or ``weak``; empty without evidence of origin. Strong evidence that other strong
        evidence contradicts is ``weak``.
    """

    sentence: str = ""
    indicates: Indication = "neutral"
    origin: str = ""
    strength: Strength | Literal[""] = ""


def summarize_evidence(evidence: Evidence) -> EvidenceSummary:
    """Summarize the evidence of an image, led by its strongest finding."""
    best: dict[_Claim, Finding] = {}
    for finding in sorted(evidence.findings, key=_rank):
        if finding.indicates != "neutral":
            best.setdefault(_classify(finding), finding)
    # Credentials that do not count, or that state no origin.
    remarks = [f.statement for f in evidence.findings if f.indicates == "neutral" and f.statement]
    if not best:
        return EvidenceSummary("; ".join(remarks))
    claim, lead = min(best.items(), key=lambda item: _rank(item[1]))
    strength: Strength = lead.strength
    parts = [_phrase(lead)]
    rival = best.get({"synthetic": "camera", "camera": "synthetic"}.get(claim, ""))  # type: ignore[call-overload]
    if rival:
        parts.append(f"contradicted by: {_phrase(rival)}")
        strength = "weak" if rival.strength == "strong" else strength
    if claim in ("changed", "camera"):
        other = best.get("camera" if claim == "changed" else "edited")
        parts += [f"also: {_phrase(other)}"] if other else []
    return EvidenceSummary(
        "; ".join(parts + remarks), lead.indicates, _name_origin(claim, lead), strength
    )


def _classify(finding: Finding) -> _Claim:
    if finding.indicates == "edited" and (
        finding.generator or _GENERATED_PART.search(finding.title)
    ):
        return "changed"
    return finding.indicates  # type: ignore[return-value]


def _rank(finding: Finding) -> tuple[int, ...]:
    """Return the sort key of a finding: the strongest evidence comes first."""
    if finding.indicates == "neutral":
        return (9,)
    claim = _classify(finding)
    is_generated = claim in ("synthetic", "changed")
    if claim == "edited":
        level = 5
    elif finding.trusted:
        level = 0
    elif finding.strength == "strong":
        level = 1 if is_generated else 2
    else:
        level = 4 if is_generated else 3
    known = find_generator(finding.generator)
    return (
        level,
        _KINDS.index(finding.kind) if finding.kind in _KINDS else len(_KINDS),
        _CLAIMS.index(claim),
        not finding.generator,
        bool(known and known.tool),  # it runs various generators
        not finding.origin,
    )


def _phrase(finding: Finding) -> str:
    phrase = f"{_PREFIXES.get(finding.kind, '')}{finding.statement or finding.title}"
    return phrase if finding.strength == "strong" else f"{phrase} (weak evidence)"


def _name_origin(claim: _Claim, finding: Finding) -> str:
    if claim == "camera":
        return REAL
    if claim != "synthetic":
        return ""
    known = find_generator(finding.generator)
    return finding.origin or ("" if known and known.tool else finding.generator) or SYNTHETIC
