"""Verdicts: answers as short sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from whichgen.evidence.finding import Evidence, Finding
from whichgen.inference.attribution import Attribution
from whichgen.inference.verdict import format_percentage, make_verdict


def answer(origin: str | None, coarse_origin: str | None = None, p: float = 0.934) -> Attribution:
    probabilities = {"real": 1 - p, "stable_diffusion_1.4": p}
    if origin == "real":
        probabilities = {"real": p, "stable_diffusion_1.4": 1 - p}
    error = "" if origin else "a.png: no such file"
    return Attribution(
        "a.png", origin, probabilities, 0.5, 0.4, coarse_origin or origin, error=error
    )


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (answer("stable_diffusion_1.4"), "generator", "stable diffusion 1.4, 93 %"),
        (answer("real"), "real", "no sign of a known generator, 93 %"),
        (answer("unknown", "synthetic"), "synthetic", "synthetic, unknown generator"),
        (answer("unknown", "GAN"), "synthetic", "synthetic (GAN), unknown generator"),
        (answer("unknown", "unknown"), "unknown", "unknown"),
        (
            answer("unknown", "real"),
            "real",
            "no sign of a generator, but unlike the known photographs",
        ),
        (answer(None), "unread", "no answer"),
    ],
)
def test_words_of_each_answer(answer: Attribution, kind: str, words: str) -> None:
    verdict = make_verdict(answer)
    assert (verdict.kind, verdict.words) == (kind, words)
    assert verdict.detail


def test_evidence_precedes_the_prediction_in_the_sentence() -> None:
    finding = Finding("text", "made", "", "synthetic", "Midjourney", statement="Software: “x”")
    prediction = answer("real")
    verdict = make_verdict(replace(prediction, provenance=Evidence((finding,))))
    assert verdict.sentence == (
        "Software: “x”. Model: no sign of a known generator, 93 %. "
        "The model disagrees: it predicts real."
    )
    assert verdict.evidence.origin == "Midjourney"
    plain = make_verdict(prediction)
    assert (verdict.kind, verdict.words, verdict.detail) == (plain.kind, plain.words, plain.detail)
    assert plain.sentence == "Model: no sign of a known generator, 93 %."


def test_unreadable_image_states_the_reason() -> None:
    assert make_verdict(answer(None)).detail == "a.png: no such file"


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (1.0, "over 99 %"),
        (0.9951, "over 99 %"),
        (0.99, "99 %"),
        (0.5, "50 %"),
        (0.004, "under 1 %"),
    ],
)
def test_percentage_is_never_0_or_100(p: float, words: str) -> None:
    assert format_percentage(p) == words
