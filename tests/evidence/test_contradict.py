"""Where a file and the model disagree, and where names are too loose to tell."""

from __future__ import annotations

import pytest

from whichgen.data.families import assign_families
from whichgen.evidence.collect import Evidence, Finding, find_contradictions
from whichgen.evidence.contradict import _FAMILIES

CAMERA = Finding("exif", "camera: A B", indicates="camera")
EDITED = Finding("xmp", "filled in", indicates="edited", generator="Adobe Firefly")


def made_by(*generators: str) -> Evidence:
    return Evidence(
        tuple(Finding("text", "made", indicates="synthetic", generator=g) for g in generators)
    )


@pytest.mark.parametrize(
    ("origin", "coarse_origin", "disagrees"),
    [
        ("biggan", "biggan", True),
        ("unknown", "synthetic", True),
        ("unknown", "GAN", True),
        ("unknown", "unknown", False),
        ("unknown", "real", False),
        ("real", "real", False),
        ("unknown", None, False),
        (None, None, False),
    ],
)
def test_camera_contradicts_synthetic_answer(
    origin: str | None, coarse_origin: str | None, disagrees: bool
) -> None:
    contradictions = find_contradictions(Evidence((EDITED, CAMERA)), origin, coarse_origin)
    assert len(contradictions) == disagrees
    assert all(
        "camera: A B" in sentence and str(coarse_origin) in sentence for sentence in contradictions
    )


@pytest.mark.parametrize(
    ("origin", "coarse_origin", "disagrees"),
    [
        ("real", "real", True),
        ("unknown", "real", True),
        ("unknown", "synthetic", False),
        ("unknown", "unknown", False),
        (None, None, False),
    ],
)
def test_synthetic_metadata_contradicts_real_answer(
    origin: str | None, coarse_origin: str | None, disagrees: bool
) -> None:
    contradictions = find_contradictions(made_by(""), origin, coarse_origin)
    assert len(contradictions) == disagrees
    assert all("Metadata indicates a synthetic image" in sentence for sentence in contradictions)
    assert find_contradictions(Evidence((EDITED,)), "real", "real") == ()


@pytest.mark.parametrize(
    ("generator", "answer", "differ"),
    [
        ("Midjourney", "Midjourney", False),
        ("Midjourney", "midjourney-v5", False),
        ("Midjourney", "stable_diffusion_v_1_4", True),
        ("Midjourney", "glide", True),
        ("Midjourney", "my-new-model", False),
        ("Stable Diffusion", "sdv2", False),
        ("v1-5-pruned-emaonly", "stable_diffusion_v_1_5", False),
        ("v1-5-pruned-emaonly", "BigGAN", True),
        ("DALL·E", "dalle2", False),
        ("DALL·E", "dalle-mini", False),
        ("OpenAI", "DALL·E 3", False),
        ("OpenAI", "midjourney", True),
        ("DALL·E", "GPT-4o", True),
        ("gpt-image 2.0", "dalle3", True),
        ("OpenAI", "gpt-image", False),
        ("ComfyUI", "stable_diffusion_v_1_5", False),
        ("ComfyUI", "stylegan2", True),
        ("dreamshaper_8", "Midjourney", False),
        ("dreamshaper_8", "stylegan2", False),
    ],
)
def test_names_are_compared_loosely(generator: str, answer: str, differ: bool) -> None:
    contradictions = find_contradictions(made_by(generator), answer, answer)
    assert len(contradictions) == differ
    assert all(generator in sentence and answer in sentence for sentence in contradictions)


@pytest.mark.parametrize(
    ("generator", "family", "differ"),
    [
        ("Midjourney", "diffusion", False),
        ("Midjourney", "GAN", True),
        ("ComfyUI", "diffusion", False),
        ("ComfyUI", "GAN", True),
        ("DALL·E", "diffusion", False),
        ("dreamshaper_8", "GAN", False),
        ("Midjourney", "a family of the user's", False),
    ],
)
def test_family_answer_is_compared_with_family_of_generator(
    generator: str, family: str, differ: bool
) -> None:
    contradictions = find_contradictions(made_by(generator), "unknown", family)
    assert len(contradictions) == differ
    assert all(f"an unknown generator ({family})" in sentence for sentence in contradictions)


def test_one_matching_name_suffices() -> None:
    assert find_contradictions(made_by("Stable Diffusion", "Midjourney"), "midjourney") == ()
    (contradiction,) = find_contradictions(made_by("Stable Diffusion", "Ideogram"), "midjourney")
    assert "Stable Diffusion and Ideogram" in contradiction


def test_families_match_the_table() -> None:
    examples = ("ddpm", "pixelcnn", "biggan", "glow", "vae")
    assert set(assign_families(examples).values()) == _FAMILIES
