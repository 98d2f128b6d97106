"""Summarize provenance evidence in one sentence that begins with the strongest finding.

From strongest to weakest, the evidence is:

1. a generator or a camera that a trusted signer states;
2. a generator in other Content Credentials, then in a watermark, then in metadata;
3. a camera in other Content Credentials;
4. a camera in metadata;
5. weak evidence of a generator;
6. edits without evidence of a generator.

If no trusted signer states it, a camera is weaker than strong evidence of a generator, because
anyone can write the name of a camera, and because editing with a generator may preserve it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from whichgen.constants import REAL, SYNTHETIC
from whichgen.evidence.finding import Evidence, Finding, Indication, Strength
from whichgen.evidence.generator_patterns import find_generator

#: What a finding claims about the image; ``changed`` means edited with a generator.
_Claim = Literal["synthetic", "changed", "camera", "edited"]

#: Titles of findings about edits with a generator.
_GENERATED_PART = re.compile(r"^component, |rainedAlgorithmicMedia|compositeSynthetic|\bAI\b|^AI")

#: Prefixes of the phrases by kind of metadata.
_PREFIXES = {"xmp": "XMP ", "iptc": "IPTC ", "exif": "EXIF "}

#: Kinds of evidence and claims, strongest first; all other kinds are weaker.
_KINDS = ("credentials", "watermark")
_CLAIMS: tuple[_Claim, ...] = ("synthetic", "changed", "camera", "edited")

#: The claim that contradicts each claim, and claims that are reported in addition.
_OPPOSITES: dict[_Claim, _Claim] = {"synthetic": "camera", "camera": "synthetic"}
_COMPANIONS: dict[_Claim, tuple[_Claim, ...]] = {
    "changed": ("synthetic", "camera"),
    "camera": ("changed", "edited"),
}


@dataclass(frozen=True)
class EvidenceSummary:
    """The strongest provenance evidence of an image.

    Parameters
    ----------
    sentence
        The strongest finding, and findings that contradict or supplement it; then remarks, for
        example why Content Credentials are no evidence. Empty if there is nothing to report.
    indicates
        As in :class:`~whichgen.evidence.finding.Finding`; ``neutral`` without evidence.
    origin
        For a synthetic image, the origin of the generator
        (:attr:`~whichgen.evidence.finding.Finding.origin`) or, if it is unknown, the name of the
        generator; ``synthetic`` if there is no name or only that of a program that runs various
        generators. For a camera, ``real``. Otherwise empty.
    strength
        ``strong`` or ``weak``; empty without evidence. Strong evidence counts as ``weak`` if other
        strong evidence contradicts it, unless only the former is trusted.
    """

    sentence: str = ""
    indicates: Indication = "neutral"
    origin: str = ""
    strength: Strength | Literal[""] = ""

    def as_columns(self) -> dict[str, str]:
        """Return a dictionary of the sentence, origin and strength for tables and JSON files.

        The keys are ``evidence``, ``evidence_origin`` and ``evidence_strength``.
        """
        return {
            "evidence": self.sentence,
            "evidence_origin": self.origin,
            "evidence_strength": self.strength,
        }


def summarize_evidence(evidence: Evidence) -> EvidenceSummary:
    """Summarize the evidence that :func:`~whichgen.evidence.collect.collect` found in a file."""
    # Remarks are about Content Credentials that are not valid or state no origin, and about XMP
    # source types that are no evidence, such as drawings.
    remarks = [f.statement for f in evidence.findings if f.indicates == "neutral" and f.statement]
    ranked_findings = sorted((f for f in evidence.findings if f.indicates != "neutral"), key=_rank)
    if not ranked_findings:
        return EvidenceSummary("; ".join(remarks))
    lead, claim = ranked_findings[0], _classify(ranked_findings[0])
    strongest_findings: dict[_Claim, Finding] = {}
    for finding in ranked_findings:
        strongest_findings.setdefault(_classify(finding), finding)
    parts, strength = [_describe_finding(lead)], lead.strength
    if claim in _OPPOSITES and (rival := strongest_findings.get(_OPPOSITES[claim])):
        parts.append(f"contradicted by: {_describe_finding(rival)}")
        if rival.strength == "strong" and lead.trusted <= rival.trusted:
            strength = "weak"
    companions = [
        strongest_findings[c] for c in _COMPANIONS.get(claim, ()) if c in strongest_findings
    ]
    parts += [f"also: {_describe_finding(companion)}" for companion in companions]
    return EvidenceSummary(
        "; ".join(parts + remarks), lead.indicates, _name_origin(claim, lead), strength
    )


def _classify(finding: Finding) -> _Claim:
    """Return the claim of a finding that is not neutral."""
    if finding.indicates == "edited" and (
        finding.generator or _GENERATED_PART.search(finding.title)
    ):
        return "changed"
    return finding.indicates  # type: ignore[return-value]


def _rank(finding: Finding) -> tuple[int, ...]:
    """Return the sort key of a finding that is not neutral; the strongest finding is first."""
    claim = _classify(finding)
    is_generated = claim in ("synthetic", "changed")
    if claim == "edited":
        level = 5
    elif finding.strength == "weak":
        level = 4 if is_generated else 3
    elif finding.trusted:
        level = 0
    else:
        level = 1 if is_generated else 2
    generator = find_generator(finding.generator)
    return (
        level,
        _KINDS.index(finding.kind) if finding.kind in _KINDS else len(_KINDS),
        _CLAIMS.index(claim),
        not finding.generator,
        bool(generator and generator.is_tool),
        not finding.origin,
    )


def _describe_finding(finding: Finding) -> str:
    phrase = f"{_PREFIXES.get(finding.kind, '')}{finding.statement or finding.title}"
    return phrase if finding.strength == "strong" else f"{phrase} (weak evidence)"


def _name_origin(claim: _Claim, finding: Finding) -> str:
    """Return the origin that a finding states (see :attr:`EvidenceSummary.origin`)."""
    if claim == "camera":
        return REAL
    if claim != "synthetic":
        return ""
    generator = find_generator(finding.generator)
    name = "" if generator and generator.is_tool else finding.generator
    return finding.origin or name or SYNTHETIC
