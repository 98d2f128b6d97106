"""Summarize answers (:class:`whichgen.inference.attribution.Attribution`) in short sentences."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from whichgen.constants import REAL, SYNTHETIC, UNKNOWN
from whichgen.evidence.agreement import Agreement
from whichgen.evidence.finding import Evidence
from whichgen.evidence.summary import EvidenceSummary, summarize_evidence
from whichgen.inference.attribution import Attribution

#: ``generator``: a known generator; ``real``: a photograph; ``synthetic``: an unknown generator;
#: ``unknown``: neither synthetic nor real is certain; ``unread``: the image can't be read.
VerdictKind = Literal["generator", "real", "synthetic", "unknown", "unread"]


@dataclass(frozen=True)
class Verdict:
    """Text that summarizes an answer: the evidence in the file, then the model's prediction.

    Parameters
    ----------
    kind
        Type of the model's prediction, which determines its color and filter on the web page.
    words
        Short form of the prediction, such as ``stable diffusion 1.4, 93 %``.
    detail
        Notes on an unusual image (:attr:`~whichgen.inference.attribution.Attribution.notes`), then
        one or two sentences that explain :attr:`words`; the error message for an unreadable image.
    evidence
        Summary of the provenance evidence in the file.
    agreement
        Comparison of the prediction with the evidence.
    """

    kind: VerdictKind
    words: str
    detail: str
    evidence: EvidenceSummary = field(default_factory=EvidenceSummary)
    agreement: Agreement = field(default_factory=Agreement)

    @property
    def sentence(self) -> str:
        """Evidence, prediction (:attr:`words`), and whether they agree, without :attr:`detail`."""
        parts = (self.evidence.sentence, f"Model: {self.words}", self.agreement.sentence)
        return ". ".join(part.removesuffix(".") for part in parts if part) + "."


def make_verdict(answer: Attribution) -> Verdict:
    """Summarize the answer for one image.

    If the image is attributed to a known origin, :attr:`Verdict.words` includes the probability of
    this origin as a percentage.
    """
    prediction = _describe_prediction(answer)
    return replace(
        prediction,
        detail=" ".join((*answer.notes, prediction.detail)),
        evidence=summarize_evidence(answer.provenance or Evidence()),
        agreement=answer.agreement,
    )


def _describe_prediction(answer: Attribution) -> Verdict:
    """Summarize the model's prediction, without notes and evidence."""
    if answer.origin is None:
        return Verdict("unread", "no answer", answer.error)
    if answer.origin != UNKNOWN:
        percentage = format_percentage(answer.probabilities[answer.origin])
        if answer.origin == REAL:
            return Verdict(
                "real",
                f"no sign of a known generator, {percentage}",
                "The image resembles the photographs the model was trained on. Generated images "
                "that resemble them get the same answer.",
            )
        name = format_origin(answer.origin)
        return Verdict(
            "generator",
            f"{name}, {percentage}",
            f"{name} is the most probable of the known origins, and the image is similar enough to "
            "them to be attributed.",
        )
    reason = "The similarity to the known origins is below the threshold"
    if answer.unstable:
        original_answer = format_origin(str(answer.original_answer))
        copies = ", ".join(answer.differing_copies or ())
        reason = (
            f"The answer for the file itself, {original_answer}, changes when the image is "
            f"slightly altered ({copies})"
        )
    if answer.coarse_origin == REAL:
        return Verdict(
            "real",
            "no sign of a generator, but unlike the known photographs",
            f"{reason}, but the image resembles photographs rather than generated images.",
        )
    if answer.coarse_origin in (None, UNKNOWN):
        return Verdict(
            "unknown", "unknown", f"{reason}, and neither photograph nor generator is certain."
        )
    words, resemblance = "synthetic, unknown generator", "generated images rather than photographs"
    if answer.coarse_origin != SYNTHETIC:
        family = format_origin(answer.coarse_origin)
        words = f"synthetic ({family}), unknown generator"
        resemblance = f"images by generators of the family {family}"
    return Verdict("synthetic", words, f"{reason}, but the image resembles {resemblance}.")


def format_origin(origin: str) -> str:
    """Replace underscores with spaces: ``stable_diffusion_1.4`` → ``stable diffusion 1.4``."""
    return origin.replace("_", " ")


def format_percentage(probability: float) -> str:
    """Format a probability in [0, 1] as a percentage without decimals: ``0.934`` → ``93 %``.

    Values above 0.99 become ``over 99 %``, and values below 0.01 become ``under 1 %``.
    """
    if probability > 0.99:
        return "over 99 %"
    return "under 1 %" if probability < 0.01 else f"{100 * probability:.0f} %"
