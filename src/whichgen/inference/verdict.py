"""An answer in words, for people who read no table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from whichgen.constants import REAL, SYNTHETIC, UNKNOWN
from whichgen.inference.answers import Attribution

#: ``generator``: a known one; ``real``; ``synthetic``: of an unknown maker; ``unknown``: not even
#: that is certain; ``unread``: no answer.
Kind = Literal["generator", "real", "synthetic", "unknown", "unread"]


@dataclass(frozen=True)
class Verdict:
    """What an answer comes to.

    Parameters
    ----------
    kind
        For colors and filters.
    words
        The verdict itself, as in ``stable diffusion 1.4, 93 %``.
    detail
        One sentence on what it rests on and how sure it is.
    """

    kind: Kind
    words: str
    detail: str


def make_verdict(answer: Attribution) -> Verdict:
    """The verdict on one image.

    The percentage is the probability of the origin *if the image is of a known one*; for an image
    that is answered ``unknown`` there is none.
    """
    if answer.origin is None:
        return Verdict("unread", "no answer", answer.error)
    if answer.origin != UNKNOWN:
        chance = format_percentage(answer.probabilities[answer.origin])
        if answer.origin == REAL:
            return Verdict(
                "real",
                f"no sign of a known generator, {chance}",
                "It is like the photographs that the model was shown. A generator that resembles "
                "them would be taken for one, too.",
            )
        return Verdict(
            "generator",
            f"{display_name(answer.origin)}, {chance}",
            f"Of the known origins, {display_name(answer.origin)} is the most probable, and the "
            "image is similar enough to them to be attributed.",
        )
    likeness = "It is less like every known origin than the threshold asks for"
    if answer.coarse_origin == REAL:
        return Verdict(
            "real",
            "no sign of a generator, but unlike the known photographs",
            f"{likeness}; what there is speaks for a photograph.",
        )
    if answer.coarse_origin == SYNTHETIC:
        return Verdict(
            "synthetic",
            "synthetic, maker unknown",
            f"{likeness}, but it is certain enough that a generator made it.",
        )
    if answer.coarse_origin in (None, UNKNOWN):
        return Verdict(
            "unknown",
            "unknown",
            f"{likeness}, and neither photograph nor synthetic is certain.",
        )
    return Verdict(
        "synthetic",
        f"synthetic ({display_name(str(answer.coarse_origin))}), maker unknown",
        f"{likeness}, but it is certain enough that a generator of this family made it.",
    )


def display_name(origin: str) -> str:
    """An origin's name as a word: ``stable_diffusion_1.4`` → ``stable diffusion 1.4``."""
    return origin.replace("_", " ")


def format_probability(probability: float) -> str:
    """``0.9341`` → ``93.4 %``, where several stand side by side."""
    if probability > 0.999:
        return "> 99.9 %"
    return "< 0.1 %" if probability < 0.001 else f"{100 * probability:.1f} %"


def format_percentage(probability: float) -> str:
    """``0.934`` → ``93 %``; never a round 0 or 100, which nothing is."""
    if probability > 0.99:
        return "over 99 %"
    return "under 1 %" if probability < 0.01 else f"{100 * probability:.0f} %"
