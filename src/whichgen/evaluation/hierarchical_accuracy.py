"""Number of answers, and of correct answers, at each level of the hierarchy of answers.

An *answer* states the origin of an image at the most specific level that is certain. It is a known
origin (level ``origin``), a generator family (``family``), ``synthetic`` or ``real`` for a rejected
image (``real or synthetic``), or ``unknown`` (``nothing``). See :mod:`whichgen.openset.hierarchy`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whichgen.constants import REAL, SYNTHETIC, UNKNOWN

#: Levels of an answer, from the least to the most specific.
LEVELS = ("nothing", "real or synthetic", "family", "origin")


@dataclass(frozen=True)
class LevelResult:
    """Number of answers, and of correct answers, at one level.

    Parameters
    ----------
    images
        ``known`` or ``unknown``: whether the origins of the test images are known.
    level
        One of :data:`LEVELS`.
    count
        Number of answers at this level.
    correct
        Number of correct answers at this level; ``None`` at the level ``nothing``. For an image of
        an unknown generator, ``synthetic`` and the generator's family are correct answers, and
        every known origin is a wrong answer.
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
        Maps ``known`` and ``unknown`` to a tuple of three sequences of equal length: the answers,
        whether each image is accepted as a known origin, and the true origins.
    families
        Maps each known and unknown origin, except ``real``, to its family.

    Returns
    -------
    tuple of LevelResult
        One result for each key of ``answers`` and each of :data:`LEVELS`, in this order.
    """
    results = []
    for images, rows in answers.items():
        counts = Counter(_grade_answer(*row, families) for row in zip(*rows, strict=True))
        for level in LEVELS:
            correct = counts[level, True]
            total = correct + counts[level, False]
            results.append(
                LevelResult(images, level, total, None if level == "nothing" else correct)
            )
    return tuple(results)


def _grade_answer(
    answer: str, is_accepted: bool, origin: str, families: Mapping[str, str]
) -> tuple[str, bool]:
    """Return the level of an answer, and whether it is correct for the true ``origin``.

    ``is_accepted`` states whether the image is accepted as a known origin. The answer ``unknown``
    is never correct.
    """
    if is_accepted:
        return "origin", answer == origin
    if answer == UNKNOWN:
        return "nothing", False
    if answer in (REAL, SYNTHETIC):
        return "real or synthetic", (answer == REAL) == (origin == REAL)
    return "family", families.get(origin) == answer
