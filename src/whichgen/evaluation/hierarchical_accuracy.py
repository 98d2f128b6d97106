"""How specific answers are (generator, family, real or synthetic) and how often correct."""

from __future__ import annotations

from collections import Counter
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
    for images, rows in answers.items():
        counts = Counter(_judge(*row, families) for row in zip(*rows, strict=True))
        for level in LEVELS:
            correct = counts[level, True]
            total = correct + counts[level, False]
            results.append(
                LevelResult(images, level, total, None if level == "nothing" else correct)
            )
    return tuple(results)


def _judge(
    answer: str, accepted: bool, origin: str, families: Mapping[str, str]
) -> tuple[str, bool]:
    """Return the level of an answer, and whether it is correct for an image of that origin."""
    if accepted:
        return "origin", answer == origin
    if answer == UNKNOWN:
        return "nothing", False
    if answer in (REAL, SYNTHETIC):
        return "real or synthetic", (answer == REAL) == (origin == REAL)
    return "family", families.get(origin) == answer
