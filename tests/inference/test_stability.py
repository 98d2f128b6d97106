"""Stability check: copies of an image, and the answer that they confirm."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import CountingEncoder, pack_images
from whichgen.data.shards.find_shards import find_shards
from whichgen.encoders.encoder import Encoder
from whichgen.inference import stability
from whichgen.inference.answer_table import make_answer_schema
from whichgen.inference.attribution import Attribution
from whichgen.inference.attributor import Attributor
from whichgen.inference.bulk_job import AttributionJob
from whichgen.inference.stability import COPIES, check_stability, compress, crop, find_stable_answer
from whichgen.inference.verdict import make_verdict
from whichgen.models.origin_model import OriginModel

FAMILIES = {"dcgan": "GAN", "stylegan": "GAN", "ddpm": "diffusion", "flow": "flow"}

#: The answers that each answer implies, from the most to the least specific.
IMPLIED = {
    "dcgan": ["dcgan", "GAN", "synthetic", "unknown"],
    "stylegan": ["stylegan", "GAN", "synthetic", "unknown"],
    "ddpm": ["ddpm", "diffusion", "synthetic", "unknown"],
    "flow": ["flow", "synthetic", "unknown"],
    "GAN": ["GAN", "synthetic", "unknown"],
    "diffusion": ["diffusion", "synthetic", "unknown"],
    "synthetic": ["synthetic", "unknown"],
    "real": ["real", "unknown"],
    "unknown": ["unknown"],
}
ANSWERS = st.lists(st.sampled_from(list(IMPLIED)), min_size=1, max_size=6)


@given(ANSWERS)
def test_the_answer_is_the_most_specific_one_that_no_copy_contradicts(answers: list[str]) -> None:
    original, *copies = answers
    stable = find_stable_answer(answers, FAMILIES)

    def contradicts(answer: str, copy: str) -> bool:
        return answer not in IMPLIED[copy] and copy not in IMPLIED[answer]

    if all(original in IMPLIED[copy] for copy in copies):
        assert stable == original
    else:
        weaker = IMPLIED[original][1:] or ["unknown"]
        assert stable in weaker
        assert not any(contradicts(stable, copy) for copy in copies)
        skipped = weaker[: weaker.index(stable)]
        assert all(any(contradicts(answer, copy) for copy in copies) for answer in skipped)


@pytest.mark.parametrize(
    ("original", "copies", "expected"),
    [
        ("dcgan", ["dcgan", "unknown"], "GAN"),
        ("dcgan", ["synthetic", "GAN"], "GAN"),
        ("dcgan", ["ddpm", "dcgan"], "synthetic"),
        ("dcgan", ["real", "dcgan"], "unknown"),
        ("flow", ["unknown", "flow"], "synthetic"),
        ("synthetic", ["dcgan", "GAN"], "synthetic"),
        ("synthetic", ["unknown", "dcgan"], "unknown"),
        ("real", ["real", "unknown"], "unknown"),
        ("unknown", ["real", "dcgan"], "unknown"),
    ],
)
def test_answers_of_copies(original: str, copies: list[str], expected: str) -> None:
    assert find_stable_answer([original, *copies], FAMILIES) == expected


@given(ANSWERS, st.sampled_from(list(IMPLIED)))
def test_more_copies_never_make_the_answer_more_specific(answers: list[str], more: str) -> None:
    assert (
        find_stable_answer([*answers, more], FAMILIES)
        in IMPLIED[find_stable_answer(answers, FAMILIES)]
    )


@given(st.sampled_from(list(IMPLIED)), st.integers(1, 6))
def test_equal_answers_stay_unchanged(answer: str, count: int) -> None:
    assert find_stable_answer([answer] * count, FAMILIES) == answer


def attribution(answer: str) -> Attribution:
    """Create the answer for one image, without its copies."""
    origin = answer if answer in (*FAMILIES, "real") else "unknown"
    return Attribution("a.png", origin, {"ddpm": 0.6, "real": 0.4}, 0.6, 0.5, answer)


@given(
    st.sampled_from(list(IMPLIED)), st.lists(st.sampled_from(list(IMPLIED)), min_size=5, max_size=5)
)
def test_only_the_answer_changes(answer: str, copies: list[str]) -> None:
    alone = attribution(answer)
    checked = check_stability(alone, copies, FAMILIES)
    assert checked.unstable == any(answer not in IMPLIED[copy] for copy in copies)
    assert checked.coarse_origin == find_stable_answer([answer, *copies], FAMILIES)
    assert checked.origin == ("unknown" if checked.unstable else alone.origin)
    assert checked.original_answer == answer
    assert checked.stability == copies.count(answer) == 5 - len(checked.differing_copies or ())
    assert [name in (checked.differing_copies or ()) for name in COPIES] == [
        copy != answer for copy in copies
    ]
    fields = ("image", "probabilities", "score", "threshold", "score_percentile", "error")
    assert all(getattr(checked, name) == getattr(alone, name) for name in fields)


def test_an_unstable_answer_says_so_in_the_row_and_in_a_sentence() -> None:
    checked = check_stability(
        attribution("dcgan"), ["GAN", "dcgan", "dcgan", "stylegan", "dcgan"], FAMILIES
    )
    schema = make_answer_schema(["ddpm", "real"], stability=True)
    row = checked.as_row(schema)
    names = ("origin", "coarse_origin", "stability", "differing_copies", "original_answer")
    assert [row[name] for name in names] == ["unknown", "GAN", 3, "jpeg webp", "dcgan"]
    assert pa.Table.from_pylist([row, attribution("ddpm").as_row(schema)], schema).num_rows == 2
    assert "stability" not in attribution("ddpm").as_row(make_answer_schema(["ddpm", "real"]))
    verdict = make_verdict(checked)
    assert verdict.kind == "synthetic"
    assert verdict.detail == (
        "The answer for the file itself, dcgan, changes when the image is slightly altered (jpeg, "
        "webp), but the image resembles images by generators of the family GAN."
    )
    # The answer `unknown` can't change; the threshold remains the reason.
    rejected = check_stability(attribution("unknown"), ["real"] * 5, FAMILIES)
    assert rejected.stability == 0 and not rejected.unstable
    assert "threshold" in make_verdict(rejected).detail


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (15, 3000), (33, 64), (240, 240)])
@pytest.mark.parametrize("name", COPIES)
def test_copies_of_any_size_are_mild(
    noise: Callable[..., Image.Image], name: str, size: tuple[int, int]
) -> None:
    image = noise(1, (48, 48)).resize(size, Image.Resampling.BICUBIC)
    before = image.tobytes()
    copy = COPIES[name](image)
    assert image.tobytes() == before and copy.mode == "RGB"
    width, height = size
    if name == "crop":
        size = (width - 2 * min(2, width // 16), height - 2 * min(2, height // 16))
    assert copy.size == size


def test_copies_are_what_their_names_say(noise: Callable[..., Image.Image]) -> None:
    image = noise(2, (64, 48))
    pixels = np.asarray(image)
    np.testing.assert_array_equal(np.asarray(COPIES["mirror"](image)), pixels[:, ::-1])
    np.testing.assert_array_equal(np.asarray(COPIES["crop"](image)), pixels[2:-2, 2:-2])
    for name, kind, quality in (("jpeg", "JPEG", 85), ("webp", "WEBP", 80)):
        buffer = io.BytesIO()
        image.save(buffer, kind, quality=quality)
        np.testing.assert_array_equal(
            np.asarray(COPIES[name](image)), np.asarray(Image.open(buffer).convert("RGB"))
        )
    small = image.resize((48, 36), Image.Resampling.BICUBIC).resize(
        (64, 48), Image.Resampling.BICUBIC
    )
    np.testing.assert_array_equal(np.asarray(COPIES["rescale"](image)), np.asarray(small))


def test_an_image_too_long_for_webp_is_scaled_down() -> None:
    copy = compress(Image.new("RGB", (20_000, 100)), "WEBP", 80)
    assert copy.size == (16383, 82)
    assert crop(copy).size == (16379, 78)


@pytest.fixture
def attributor(models: dict[str, OriginModel], encoder: Encoder) -> Attributor:
    """Linear model with its encoder."""
    return Attributor(models["linear"], encoder)


def flip_on(name: str, image: Image.Image, other: Image.Image) -> dict[str, Any]:
    """Return copies that equal the image, except one, which is another image."""
    same: dict[str, Any] = dict.fromkeys(COPIES, lambda _: image)
    return same | {name: lambda _: other}


def test_an_answer_that_flips_on_jpeg_is_unstable(
    attributor: Attributor, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = attributor.attribute(images)
    by_answer = {answer.coarse_origin: i for i, answer in enumerate(alone)}
    first, second = by_answer["gan"], by_answer["vae"]
    copies = flip_on("jpeg", images[first], images[second])
    monkeypatch.setattr("whichgen.inference.attributor.COPIES", copies)
    (checked,) = attributor.attribute(images[first], stability=True)
    assert checked.unstable
    assert (checked.origin, checked.coarse_origin) == ("unknown", "synthetic")
    assert (checked.stability, checked.differing_copies) == (4, ("jpeg",))
    assert checked.original_answer == "gan"
    assert checked.probabilities == pytest.approx(alone[first].probabilities, abs=1e-6)
    assert checked.score == pytest.approx(alone[first].score, abs=1e-6)
    # In batches of different sizes, scores of an image differ by rounding, and the percentile by
    # at most one validation image.
    assert checked.score_percentile is not None
    n_scores = len(attributor.model.calibration.scores)
    assert checked.score_percentile == pytest.approx(
        alone[first].score_percentile, abs=100 / n_scores + 1e-6
    )


def test_an_answer_that_never_flips_is_unchanged(
    models: dict[str, OriginModel],
    encoder: Encoder,
    images: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def identity(image: Image.Image) -> Image.Image:
        return image

    monkeypatch.setattr("whichgen.inference.attributor.COPIES", dict.fromkeys(COPIES, identity))
    # Each batch has one image and its copies, so that even rounding is the same.
    attributor = Attributor(models["linear"], encoder, pad_to=6)
    alone = attributor.attribute(images, coverage=0.9, nearest=2, batch_size=1)
    checked = attributor.attribute(images, coverage=0.9, nearest=2, batch_size=6, stability=True)
    assert {answer.origin for answer in alone} > {"unknown"}
    assert checked == [
        replace(a, stability=5, differing_copies=(), original_answer=a.coarse_origin) for a in alone
    ]


@pytest.mark.parametrize("batch_size", [1, 6, 13, 64])
def test_each_copy_is_compared_with_its_own_image(
    attributor: Attributor, images: list[Image.Image], batch_size: int
) -> None:
    """Attribute the copies of an image one by one, and compare with the stability check."""
    inputs = [*images[::5], b"no image", images[1]]
    checked = attributor.attribute(inputs, stability=True, batch_size=batch_size)
    assert [bool(answer.error) for answer in checked] == [
        isinstance(image, bytes) for image in inputs
    ]
    for image, answer in zip(inputs, checked, strict=True):
        if isinstance(image, bytes):
            assert answer.stability is answer.differing_copies is answer.original_answer is None
            continue
        views = [image, *(copy(image) for copy in COPIES.values())]
        original, *copies = (str(a.coarse_origin) for a in attributor.attribute(views))
        families = attributor.model.hierarchy.families
        assert answer.original_answer == original
        assert answer.coarse_origin == find_stable_answer([original, *copies], families)
        assert answer.differing_copies == tuple(
            name for name, copy in zip(COPIES, copies, strict=True) if copy != original
        )


def test_an_image_and_its_copies_share_a_pass_and_one_decoding(
    counting: Callable[..., CountingEncoder],
    images: list[Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from whichgen.features import image_encoding
    from whichgen.features.batching import BatchEncoder

    decoded = []
    decode_file = image_encoding.decode_file

    def decode(data: bytes, name: str) -> Image.Image:
        decoded.append(Path(name))
        return decode_file(data, name)

    monkeypatch.setattr(image_encoding, "decode_file", decode)
    paths = []
    for i, image in enumerate(images[:7]):
        paths.append(tmp_path / f"{i}.png")
        image.save(paths[-1])
    counter = counting()
    batches = list(
        image_encoding.encode_batches(
            image_encoding.make_image_loaders(paths),
            BatchEncoder(counter.encoder),
            batch_size=20,
            copies=COPIES.values(),
        )
    )
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert [len(batch.blocks[0]) for batch in batches] == [18, 18, 6]
    assert (counter.calls, counter.images) == (3, 42)
    assert sorted(decoded) == paths


def test_bulk_answers_equal_those_of_attribute(
    models: dict[str, OriginModel], encoder: Encoder, images: list[Image.Image], tmp_path: Path
) -> None:
    files = {}
    for i, image in enumerate(images[::6]):
        image.save(tmp_path / f"{i}.png")
        files[f"{i}.png"] = (tmp_path / f"{i}.png").read_bytes()
    (shard,) = find_shards([str(pack_images(tmp_path / "a.tar", files))])
    job = AttributionJob(models["linear"], encoder.name, "cpu", 12, stability=True)
    answers = [answer for batch in job.start()(shard) for answer in batch.answers]
    expected = Attributor(models["linear"], encoder).attribute(images[::6], stability=True)
    assert [(a.origin, a.coarse_origin, a.stability, a.differing_copies) for a in answers] == [
        (a.origin, a.coarse_origin, a.stability, a.differing_copies) for a in expected
    ]
    assert answers[0].stability is not None


def test_the_table_of_copies_has_five_entries() -> None:
    assert list(stability.COPIES) == ["jpeg", "rescale", "crop", "webp", "mirror"]
