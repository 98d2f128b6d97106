"""Which finding leads, and what the summary says of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from whichgen.evidence.collect import Evidence, Finding, collect
from whichgen.evidence.summary import EvidenceSummary, summarize_evidence

from .conftest import png

SIGNED = Finding("credentials", "signed", "", "synthetic", "gpt-image 2.0", origin="gpt-image-2")
WATERMARK = Finding("watermark", "watermark", "", "synthetic", "SDXL")
PARAMETERS = Finding("text", "parameters", "", "synthetic", "toy_v1")
CAPTION = Finding("text", "caption", "", "synthetic", "Midjourney", "weak")
SIGNED_CAMERA = Finding("credentials", "signed camera", "", "camera")
TRUSTED_CAMERA = Finding("credentials", "trusted camera", "", "camera", trusted=True)
TRUSTED_GUESS = Finding("credentials", "guess", "", "synthetic", "Sora", "weak", trusted=True)
EXIF_CAMERA = Finding("exif", "camera", "", "camera", strength="weak")
FILLED = Finding("xmp", "DigitalSourceType: compositeWithTrainedAlgorithmicMedia", "", "edited")
EDITOR = Finding("exif", "editor", "", "edited")
NOTHING = Finding("text", "Author")
BROKEN = Finding("credentials", "not valid", statement="credentials do not count")


def summarize(*findings: Finding) -> EvidenceSummary:
    return summarize_evidence(Evidence(findings))


@pytest.mark.parametrize(
    ("stronger", "weaker"),
    [
        (SIGNED, WATERMARK),
        (WATERMARK, PARAMETERS),
        (PARAMETERS, CAPTION),
        (TRUSTED_CAMERA, WATERMARK),
        (WATERMARK, SIGNED_CAMERA),
        (PARAMETERS, EXIF_CAMERA),
        (SIGNED_CAMERA, EXIF_CAMERA),
        (EXIF_CAMERA, CAPTION),
        (CAPTION, EDITOR),
        (FILLED, CAPTION),
        (FILLED, EXIF_CAMERA),
        (EXIF_CAMERA, EDITOR),
        (EDITOR, NOTHING),
        (WATERMARK, TRUSTED_GUESS),
    ],
)
def test_stronger_evidence_leads(stronger: Finding, weaker: Finding) -> None:
    for findings in ((stronger, weaker), (weaker, stronger)):
        summary = summarize(*findings)
        assert summary.indicates == stronger.indicates
        assert (
            summary.sentence.removeprefix("EXIF ").removeprefix("XMP ").startswith(stronger.title)
        )


@pytest.mark.parametrize(
    ("finding", "origin"),
    [
        (SIGNED, "gpt-image-2"),
        (PARAMETERS, "toy_v1"),
        (Finding("text", "graph", "", "synthetic", "ComfyUI"), "synthetic"),
        (Finding("xmp", "type", "", "synthetic"), "synthetic"),
        (SIGNED_CAMERA, "real"),
        (FILLED, ""),
        (NOTHING, ""),
    ],
)
def test_origin_is_the_most_specific_that_is_stated(finding: Finding, origin: str) -> None:
    assert summarize(finding).origin == origin


def test_a_model_leads_over_the_program_that_ran_it() -> None:
    program = Finding("text", "program", "", "synthetic", "ComfyUI")
    assert summarize(program, PARAMETERS).origin == "toy_v1"
    assert summarize(Finding("xmp", "type", "", "synthetic"), PARAMETERS).origin == "toy_v1"


def test_contradiction_is_stated_and_weakens_only_if_it_is_strong() -> None:
    summary = summarize(WATERMARK, EXIF_CAMERA)
    assert summary.sentence == "watermark; contradicted by: EXIF camera (weak evidence)"
    assert summary.strength == "strong"
    summary = summarize(WATERMARK, SIGNED_CAMERA)
    assert summary.sentence == "watermark; contradicted by: signed camera"
    assert summary.strength == "weak"
    summary = summarize(
        TRUSTED_CAMERA, PARAMETERS
    )  # unsigned metadata can be added to a photograph
    assert summary.sentence == "trusted camera; contradicted by: parameters"
    assert summary.strength == "strong"
    summary = summarize(EXIF_CAMERA, CAPTION)
    assert "contradicted by: caption (weak evidence)" in summary.sentence


def test_an_edit_is_told_with_the_camera() -> None:
    assert summarize(EXIF_CAMERA, EDITOR).sentence.endswith("; also: EXIF editor")
    summary = summarize(FILLED, EXIF_CAMERA)
    assert summary.sentence.endswith("; also: EXIF camera (weak evidence)")
    assert summary.strength == "strong"


def test_weak_evidence_is_called_weak() -> None:
    assert summarize(CAPTION) == EvidenceSummary(
        "caption (weak evidence)", "synthetic", "Midjourney", "weak"
    )


def test_credentials_that_do_not_count_are_told_and_prove_nothing() -> None:
    assert summarize(BROKEN, NOTHING) == EvidenceSummary("credentials do not count")
    assert summarize(BROKEN, WATERMARK).sentence == "watermark; credentials do not count"
    assert summarize(NOTHING) == EvidenceSummary()


@pytest.mark.parametrize(
    ("name", "sentence", "origin", "strength"),
    [
        (
            "metadata/openai_2026_a.png",
            "Content Credentials signed by OpenAI OpCo, LLC: generated with gpt-image 2.0 (signer "
            "not verified)",
            *("gpt-image-2", "strong"),
        ),
        (
            "metadata/chatgpt_2025_a.png",
            "Content Credentials signed by OpenAI: generated with GPT-4o (signer not verified, "
            "certificate expired)",
            *("gpt-image-1", "strong"),
        ),
        (
            "metadata/nikon_c2pa.jpeg",
            "Content Credentials signed by NIKON CORPORATION: camera NIKON CORPORATION NIKON Z 9 "
            "(signer not verified, certificate expired)",
            *("real", "strong"),
        ),
        (
            "metadata/truepic.jpg",
            "Content Credentials signed by Truepic: camera Google Pixel 5 (signer not verified)",
            *("real", "strong"),
        ),
        (
            "metadata/c2pa_E-dat-CA.jpg",
            "Content Credentials signed by C2PA Test Signing Cert are not valid and do not count: "
            "content changed after signing, possibly only because the file was saved again",
            *("", ""),
        ),
        (
            "metadata/c2pa_A.jpg",
            "EXIF camera: Canon Canon EOS REBEL T3 (weak evidence); also: EXIF Software: “Adobe "
            "Lightroom 5.3 (Macintosh)”, a photo editor",
            *("real", "weak"),
        ),
        (
            "metadata/comfyui_a.png",
            "prompt: generation parameters in the format of ComfyUI, model v1-5-pruned-emaonly",
            *("stable-diffusion-1.5", "strong"),
        ),
        (
            *("metadata/imagen_3_4_a_real.jpg", "XMP Credit: “Made with Google AI”"),
            *("google-ai", "strong"),
        ),
        (
            *("cases/comment_generated_by_ai.png", "Comment: “Generated by AI” (weak evidence)"),
            *("synthetic", "weak"),
        ),
        (
            *("cases/flux_caption.jpg", "EXIF camera: Canon Canon EOS R5 (weak evidence)"),
            *("real", "weak"),
        ),
        (
            "metadata/gemini_app_2025.png",
            "XMP source type and credit: made or edited with Google AI; the Gemini app writes this "
            "in both cases (weak evidence)",
            *("google-ai", "weak"),
        ),
        ("cases/gama_short.png", "", "", ""),
    ],
)
def test_sentences_of_sample_files(
    shared: Path, name: str, sentence: str, origin: str, strength: str
) -> None:
    summary = summarize_evidence(collect((shared / name).read_bytes()))
    assert (summary.sentence, summary.origin, summary.strength) == (sentence, origin, strength)


def test_probability_of_a_watermark_is_in_the_sentence() -> None:
    file = Path(__file__).parent / "watermarks"
    sentences = [
        summarize_evidence(collect(path.read_bytes())).sentence
        for path in sorted(file.glob("*.png"))
    ]
    assert any(
        s.startswith("invisible watermark of Stable Diffusion v1, p < 1e-") for s in sentences
    )


def test_two_blocks_of_iptc_are_read() -> None:
    def record(text: bytes) -> str:
        entry = b"\x1c\x02" + bytes([110]) + len(text).to_bytes(2, "big") + text
        return entry.hex()

    texts = {"Raw profile type iptc": record(b"Made with Google AI"), "IPTC": record(b"a person")}
    details = [f.detail for f in collect(png(texts)).findings]
    assert details == ["Made with Google AI", "a person"]
