"""How far down answers go, and how often they are right there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whichgen.constants import REAL, SYNTHETIC, UNKNOWN

#: From nothing said to all.
LEVELS = ("nothing", "real or synthetic", "family", "origin")


@dataclass(frozen=True)
class LevelResult:
    """Answers at one of :data:`LEVELS`.

    Parameters
    ----------
    images
        ``known`` or ``unknown``: test images of known, or of unknown origins.
    count
        How many answers stop at this level.
    correct
        How many of them are true: of an image of an unknown generator ``synthetic`` is, its family
        may be, and no origin is. ``None`` where nothing is said.
    """

    images: str
    level: str
    count: int
    correct: int | None


def answer_level(answer: str, origins: Sequence[str], *, accepted: bool) -> str:
    """The level of a deepest answer; ``accepted``: the flat answer is a known origin."""
    if accepted:
        return "origin"
    if answer == UNKNOWN:
        return "nothing"
    return "real or synthetic" if answer in (REAL, SYNTHETIC) else "family"


def count_answers_by_level(
    answers: Mapping[str, tuple[Sequence[str], Sequence[bool], Sequence[str]]],
    origins: Sequence[str],
    families: Mapping[str, str],
) -> tuple[LevelResult, ...]:
    """Counts by level.

    Parameters
    ----------
    answers
        For ``known`` and ``unknown`` test images: the deepest answers, whether each is a known
        origin that was accepted, and the true origins.
    families
        The family of every origin but ``real``, unknown ones too.
    """
    found = []
    for images, (deepest, accepted, truth) in answers.items():
        levels = [
            answer_level(answer, origins, accepted=flat)
            for answer, flat in zip(deepest, accepted, strict=True)
        ]
        for level in LEVELS:
            at = [i for i, name in enumerate(levels) if name == level]
            right = sum(_true(deepest[i], truth[i], level, families) for i in at)
            found.append(LevelResult(images, level, len(at), None if level == "nothing" else right))
    return tuple(found)


def _true(answer: str, origin: str, level: str, families: Mapping[str, str]) -> bool:
    if level == "real or synthetic":
        return (answer == REAL) == (origin == REAL)
    if level == "family":
        return families.get(origin) == answer
    return answer == origin
