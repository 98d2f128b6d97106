"""Where the file and the model disagree."""

from __future__ import annotations

import pytest

from whichgen.evidence.contradict import contradictions
from whichgen.evidence.finding import Evidence, Finding

CAMERA = Evidence((Finding("exif", "camera: Canon EOS 5D", says="camera"),))
MIDJOURNEY = Evidence((Finding("text", "Job ID", says="synthetic", generator="Midjourney"),))
UNNAMED = Evidence((Finding("xmp", "trainedAlgorithmicMedia", says="synthetic"),))


@pytest.mark.parametrize(
    ("evidence", "origin", "at_least"),
    [
        (CAMERA, "midjourney_2022", "midjourney_2022"),
        (CAMERA, "unknown", "synthetic"),
        (CAMERA, "unknown", "diffusion"),
        (MIDJOURNEY, "real", "real"),
        (UNNAMED, "real", "real"),
        (UNNAMED, "unknown", "real"),
        (MIDJOURNEY, "stable_diffusion_1.4", "stable_diffusion_1.4"),
        (MIDJOURNEY, "stylegan2", "stylegan2"),
        (MIDJOURNEY, "unknown", "GAN"),
    ],
)
def test_a_disagreement_is_one_sentence(evidence: Evidence, origin: str, at_least: str) -> None:
    (said,) = contradictions(evidence, origin, at_least)
    assert (origin if origin != "unknown" else at_least) in said
    assert evidence.findings[0].title in said or "Midjourney" in said


@pytest.mark.parametrize(
    ("evidence", "origin", "at_least"),
    [
        (CAMERA, "real", "real"),
        (CAMERA, "unknown", "unknown"),
        (CAMERA, None, None),
        (MIDJOURNEY, "midjourney_2022", "midjourney_2022"),
        (MIDJOURNEY, "Midjourney v5", None),
        (MIDJOURNEY, "unknown", "synthetic"),
        (MIDJOURNEY, "unknown", "diffusion"),
        (UNNAMED, "stylegan2", "stylegan2"),
        (Evidence(), "real", "real"),
    ],
)
def test_agreement_says_nothing(
    evidence: Evidence, origin: str | None, at_least: str | None
) -> None:
    assert contradictions(evidence, origin, at_least) == ()
