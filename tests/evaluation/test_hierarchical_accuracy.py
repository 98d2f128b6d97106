"""Answers by level, compared with counts by hand."""

from __future__ import annotations

from whichgen.evaluation.hierarchical_accuracy import count_answers_by_level


def test_answers_are_counted_by_level_and_correctness() -> None:
    families = {"gan": "GAN", "ddpm": "diffusion", "ldm": "diffusion"}
    known = (
        ["gan", "real", "real", "synthetic", "GAN", "unknown", "synthetic"],
        [True, True, False, False, False, False, False],
        ["gan", "gan", "real", "gan", "ddpm", "real", "real"],
    )
    unknown = (
        ["ddpm", "synthetic", "real", "diffusion", "GAN", "unknown"],
        [True, False, False, False, False, False],
        ["ldm"] * 6,
    )
    results = count_answers_by_level({"known": known, "unknown": unknown}, families)
    assert [(r.images, r.level, r.count, r.correct) for r in results] == [
        ("known", "nothing", 1, None),
        ("known", "real or synthetic", 3, 2),
        ("known", "family", 1, 0),
        ("known", "origin", 2, 1),
        ("unknown", "nothing", 1, None),
        ("unknown", "real or synthetic", 2, 1),
        ("unknown", "family", 2, 1),
        ("unknown", "origin", 1, 0),
    ]
