"""Whether the model agrees with a file, and where names are too loose to tell."""

from __future__ import annotations

import pytest

from whichgen.evidence.agreement import compare_with_prediction
from whichgen.evidence.collect import Evidence, Finding

CAMERA = Finding("credentials", "camera: A B", indicates="camera")
EDITED = Finding("xmp", "filled in", indicates="edited", generator="Adobe Firefly")


def made_by(*generators: str) -> Evidence:
    return Evidence(
        tuple(Finding("text", "made", indicates="synthetic", generator=g) for g in generators)
    )


@pytest.mark.parametrize(
    ("origin", "coarse_origin", "camera", "synthetic"),
    [
        ("biggan", "biggan", False, True),
        ("unknown", "synthetic", False, True),
        ("unknown", "GAN", False, True),
        ("unknown", "real", True, False),
        ("real", "real", True, False),
        ("unknown", "unknown", None, None),
        ("unknown", None, None, None),
        (None, None, None, None),
    ],
)
def test_camera_agrees_with_real_and_generator_with_synthetic(
    origin: str | None, coarse_origin: str | None, camera: bool | None, synthetic: bool | None
) -> None:
    for evidence, expected in ((Evidence((CAMERA,)), camera), (made_by(""), synthetic)):
        agreement = compare_with_prediction(evidence, origin, coarse_origin)
        assert agreement.agrees is expected
        if expected is not None:
            word = "agrees" if expected else "disagrees"
            assert agreement.sentence.startswith(f"The model {word}: it predicts ")
            known = coarse_origin if coarse_origin != "synthetic" else "an unknown generator"
            assert str(known) in agreement.sentence
    # A changed picture may get any answer.
    assert compare_with_prediction(Evidence((EDITED,)), origin, coarse_origin).agrees is None


def test_weak_evidence_is_called_weak() -> None:
    caption = Finding("text", "made", indicates="synthetic", strength="weak")
    for origin, words in (("real", "disagrees with"), ("biggan", "agrees with")):
        sentence = compare_with_prediction(Evidence((caption,)), origin).sentence
        assert sentence.startswith(f"The model {words} this weak evidence: ")


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
        ("GPT-4o", "openai_gpt_image", False),
        ("gpt-image 2.0", "openai_gpt_image", False),
        ("Image Creator from Designer", "dalle_3", False),
        ("Google AI", "google_gemini_image", False),
    ],
)
def test_names_are_compared_loosely(generator: str, answer: str, differ: bool) -> None:
    agreement = compare_with_prediction(made_by(generator), answer, answer)
    assert agreement.agrees is not differ
    assert answer in agreement.sentence
    assert (generator in agreement.sentence.replace(answer, "")) == differ


@pytest.mark.parametrize(
    ("generator", "family", "differ"),
    [
        ("Midjourney", "diffusion", False),
        ("Midjourney", "GAN", True),
        ("ComfyUI", "diffusion", False),
        ("ComfyUI", "GAN", True),
        ("DALL·E", "diffusion", False),
        ("Midjourney", "Stable Diffusion 1", True),
        ("Midjourney v6", "Midjourney", False),
        ("v1-5-pruned-emaonly", "Stable Diffusion 1", False),
        ("flux1-dev-fp8", "GAN", True),
        ("ComfyUI", "FLUX.1", False),
        ("dreamshaper_8", "GAN", False),
        ("Midjourney", "a family of the user's", False),
    ],
)
def test_family_answer_is_compared_with_family_of_generator(
    generator: str, family: str, differ: bool
) -> None:
    agreement = compare_with_prediction(made_by(generator), "unknown", family)
    assert agreement.agrees is not differ
    assert f"an unknown generator ({family})" in agreement.sentence


def test_one_matching_name_suffices() -> None:
    assert compare_with_prediction(made_by("Stable Diffusion", "Midjourney"), "midjourney").agrees
    agreement = compare_with_prediction(made_by("Stable Diffusion", "Ideogram"), "midjourney")
    assert agreement.agrees is False
    assert "Stable Diffusion or Ideogram" in agreement.sentence


def test_a_name_in_a_caption_does_not_replace_that_of_a_program() -> None:
    caption = Finding("text", "made", "", "synthetic", "Midjourney", "weak")
    evidence = Evidence((*made_by("Ideogram").findings, caption))
    assert compare_with_prediction(evidence, "midjourney").agrees is False
    assert compare_with_prediction(Evidence((caption,)), "midjourney").agrees


def test_names_of_the_user_count() -> None:
    finding = Finding("text", "made", "", "synthetic", "Ideogram", origin="house-painter")
    assert compare_with_prediction(Evidence((finding,)), "house_painter").agrees
