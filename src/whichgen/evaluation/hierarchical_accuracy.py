"""How specific answers are (generator, family, real or synthetic) and how often correct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whichgen.constants import REAL, SYNTHETIC, UNKNOWN

#: From the least to the most specific answer.
LEVELS = ("nothing", "real or synthetic", "family", "origin")


@dataclass(frozen=True)
class LevelResult:
    """Answers at one of :data:`LEVELS`.

    Parameters
    ----------
    images
        ``known`` or ``unknown``: test images of known or of unknown origins.
    count
        Number of answers at this level.
    correct
        Number of correct ones: for an image of an unknown generator, ``synthetic`` is correct, its
        family may be, and no origin is. ``None`` at the level ``nothing``.
    """

    images: str
    level: str
    count: int
    correct: int | None


def answer_level(answer: str, *, accepted: bool) -> str:
    """Return the level of an answer; ``accepted`` images are answered with a known origin."""
    if accepted:
        return "origin"
    if answer == UNKNOWN:
        return "nothing"
    return "real or synthetic" if answer in (REAL, SYNTHETIC) else "family"


def count_answers_by_level(
    answers: Mapping[str, tuple[Sequence[str], Sequence[bool], Sequence[str]]],
    families: Mapping[str, str],
) -> tuple[LevelResult, ...]:
    """Count answers and correct answers by level.

    Parameters
    ----------
    answers
        For ``known`` and ``unknown`` test images: the most specific answers, whether each image was
        accepted as a known origin, and the true origins.
    families
        The family of every origin but ``real``, including unknown origins.
    """
    results = []
    for images, (specific, accepted, origins) in answers.items():
        levels = [answer_level(a, accepted=ok) for a, ok in zip(specific, accepted, strict=True)]
        for level in LEVELS:
            rows = [i for i, name in enumerate(levels) if name == level]
            correct = sum(_is_correct(specific[i], origins[i], level, families) for i in rows)
            count = len(rows)
            results.append(
                LevelResult(images, level, count, None if level == "nothing" else correct)
            )
    return tuple(results)


def _is_correct(answer: str, origin: str, level: str, families: Mapping[str, str]) -> bool:
    if level == "real or synthetic":
        return (answer == REAL) == (origin == REAL)
    if level == "family":
        return families.get(origin) == answer
    return answer == origin
