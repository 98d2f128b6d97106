"""Answers for new images."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import save_tiny_clip
from whichgen.encoders.encoder import Encoder
from whichgen.errors import EncoderError, ModelFileError
from whichgen.inference.answer_table import make_answer_schema
from whichgen.inference.attribution import Attribution
from whichgen.inference.attributor import Attributor
from whichgen.models.origin_model import OriginModel
from whichgen.models.saved_model import load_model, save_model
from whichgen.openset.hierarchy import Hierarchy


@pytest.fixture
def attributor(model: OriginModel, encoder: Encoder) -> Attributor:
    """Combine the model of each head with its encoder."""
    return Attributor(model, encoder)


def png(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def probabilities(answers: Iterable[Attribution]) -> np.ndarray:
    """Return the probabilities of all answers, one row per image."""
    return np.array([list(answer.probabilities.values()) for answer in answers])


def test_loaded_model_gives_identical_answers(
    model: OriginModel,
    attributor: Attributor,
    images: list[Image.Image],
    tmp_path: Path,
) -> None:
    save_model(model, tmp_path)
    assert Attributor.load(tmp_path, device="cpu").attribute(images) == attributor.attribute(images)


def test_answer_follows_from_encoder_head_and_threshold(
    model: OriginModel, attributor: Attributor, encoder: Encoder, images: list[Image.Image]
) -> None:
    pixels = np.stack([encoder.preprocess(image) for image in images])
    expected = model.head.forward(encoder.encode(pixels)[model.blocks[0]]).probabilities
    answers = attributor.attribute(images)
    np.testing.assert_allclose(probabilities(answers), expected, atol=1e-6)
    assert {answer.origin for answer in answers} > {"unknown"}
    for answer in answers:
        values = list(answer.probabilities.values())
        assert tuple(answer.probabilities) == model.origins
        assert sum(values) == pytest.approx(1, abs=1e-9)
        assert answer.score == max(values)
        assert answer.threshold == model.threshold
        assert answer.error == ""
        assert (answer.origin == "unknown") == (answer.score < model.threshold)
        if answer.origin != "unknown":
            assert answer.probabilities[answer.origin] == answer.score


def test_score_at_the_threshold_is_known(
    model: OriginModel, encoder: Encoder, images: list[Image.Image]
) -> None:
    score = Attributor(model, encoder).attribute(images[:1])[0].score
    assert score is not None
    for threshold, unknown in ((score, False), (float(np.nextafter(score, 2)), True)):
        (answer,) = Attributor(replace(model, threshold=threshold), encoder).attribute(images[:1])
        assert (answer.origin == "unknown") == unknown


def test_path_bytes_image_and_array_get_the_same_answer(
    attributor: Attributor, images: list[Image.Image], tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(images[0]))
    with Image.open(path) as image_file:
        inputs = [path, str(path), png(images[0]), images[0], np.asarray(images[0]), image_file]
        answers = attributor.attribute(inputs)
    assert [a.image for a in answers] == [
        *(str(path), str(path)),
        *("image 3", "image 4", "image 5", "image 6"),
    ]
    # The last digit can depend on the position in the batch.
    numbers = np.array([[a.score, *a.probabilities.values()] for a in answers])
    assert len({a.origin for a in answers}) == 1
    assert np.ptp(numbers, axis=0) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("mode", ["CMYK", "L", "P", "I;16", "RGBA", "1"])
def test_pillow_image_of_any_mode_equals_its_file(
    attributor: Attributor, images: list[Image.Image], tmp_path: Path, mode: str
) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        gray = np.asarray(images[0].convert("L")).astype(np.uint16) * 257
        Image.fromarray(gray).save(path)
    else:
        images[0].convert(mode).save(path)
    with Image.open(path) as image_file:
        by_path, by_image = attributor.attribute([path, image_file])
    assert not by_path.error
    assert by_path.probabilities == by_image.probabilities


def test_exif_rotation_and_first_frame_are_used(
    attributor: Attributor, images: list[Image.Image], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = images[0].transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.png", exif=exif)
    frames = [image.convert("RGB") for image in images[:3]]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "turned.png") as image_file:
        answers = attributor.attribute(
            [images[0], tmp_path / "turned.png", image_file, tmp_path / "moving.png"]
        )
    assert all(not a.error for a in answers)
    assert len({tuple(a.probabilities.values()) for a in answers}) == 1


def test_unreadable_images_have_an_error_and_others_keep_their_order(
    attributor: Attributor, images: list[Image.Image], tmp_path: Path
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no image")
    cut = png(images[1])[:-300]
    cut_file = tmp_path / "cut.jpg"
    images[1].save(cut_file, quality=95)
    cut_file.write_bytes(cut_file.read_bytes()[:-300])
    truncated = Image.open(cut_file)
    bad: dict[int, tuple[Any, str]] = {
        0: (tmp_path / "gone.png", "no such file"),
        2: (text, "not an image"),
        3: (cut, "image 4: can't be decoded"),
        5: (truncated, "image 6: can't be decoded"),
        6: (b"", "image 7: "),
        8: (np.zeros((4, 4, 3)), r"image 9: expected a uint8 array"),
        9: (np.zeros((4, 4, 2), np.uint8), "image 10: expected a uint8 array"),
        10: (np.zeros((0, 4, 3), np.uint8), "image 11: expected at least one pixel"),
        11: (
            None,
            "image 12: expected a path, bytes, a Pillow image or a NumPy array, got NoneType",
        ),
        13: (tmp_path, "can't be read"),
    }
    good = iter(images)
    inputs = [bad[i][0] if i in bad else next(good) for i in range(15)]
    with truncated:
        answers = attributor.attribute(inputs, batch_size=4)
    assert len(answers) == 15
    expected = iter(attributor.attribute(images[: 15 - len(bad)]))
    for i, answer in enumerate(answers):
        if i in bad:
            assert bad[i][1] in answer.error
            assert answer.origin is answer.score is None
            assert answer.probabilities == {}
        else:
            alone = next(expected)
            assert answer.origin == alone.origin
            np.testing.assert_allclose(probabilities([answer]), probabilities([alone]), atol=1e-6)


def test_no_images(attributor: Attributor) -> None:
    assert attributor.attribute([]) == []
    (answer,) = attributor.attribute([b"nothing"])
    assert answer.error


def test_single_image_gives_a_list_of_one(
    attributor: Attributor, images: list[Image.Image], tmp_path: Path
) -> None:
    file = tmp_path / "one.png"
    images[0].save(file)
    (expected,) = attributor.attribute([file])
    for alone in (file, str(file)):
        assert attributor.attribute(alone) == [expected]
    (answer,) = attributor.attribute(images[0])
    assert answer.probabilities == expected.probabilities


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_batch_size_does_not_change_answers(
    attributor: Attributor, images: list[Image.Image], batch_size: int
) -> None:
    at_once = attributor.attribute(images[:5])
    batched = attributor.attribute(iter(images[:5]), batch_size=batch_size)
    np.testing.assert_allclose(probabilities(batched), probabilities(at_once), atol=1e-6)
    assert [a.origin for a in batched] == [a.origin for a in at_once]


def test_progress_counts_every_image(attributor: Attributor, images: list[Image.Image]) -> None:
    items_seen = []

    def progress(items: Iterable[Any], *, description: str, total: int) -> Iterable[Any]:
        items_seen.append((description, total))
        for item in items:
            items_seen.append(item.image)
            yield item

    attributor.attribute([*images[:3], b"no image"], progress=progress, batch_size=3)
    assert items_seen == [("Attributing", 4), "image 1", "image 2", "image 3", "image 4"]


def test_non_finite_features_are_an_error(
    models: dict[str, OriginModel], encoder: Encoder, images: list[Image.Image]
) -> None:
    def encode(pixels: Any) -> Any:
        return [block * float("nan") for block in encoder.encode(pixels)]

    broken = replace(encoder, encode=encode)
    with pytest.raises(EncoderError, match="NaN or infinite"):
        Attributor(models["linear"], broken).attribute(images[:1])


def test_other_weights_preprocessing_or_precision_are_rejected(
    models: dict[str, OriginModel], encoder: Encoder, tmp_path: Path
) -> None:
    model = models["linear"]
    for part, other in (
        ("weights_hash", replace(encoder, weights_hash="0" * 32)),
        ("preprocessing", replace(encoder, preprocessing={"size": 8})),
        ("dtype", replace(encoder, dtype="bfloat16")),
    ):
        with pytest.raises(ModelFileError, match=rf"with {part} .*fit the model again"):
            Attributor(model, other)
    save_model(model, tmp_path / "model")
    other_clip = save_tiny_clip(tmp_path / "other", seed=1)
    with pytest.raises(ModelFileError, match="weights_hash"):
        Attributor.load(tmp_path / "model", device="cpu", backbone=str(other_clip))


def test_moved_encoder_is_given_by_its_folder(
    models: dict[str, OriginModel], tiny_clip: Path, tmp_path: Path, images: list[Image.Image]
) -> None:
    model = models["linear"]
    gone = replace(model, encoder={**model.encoder, "name": str(tmp_path / "gone")})
    save_model(gone, tmp_path / "model")
    with pytest.raises(EncoderError, match=r"gone.*use the encoder efficientnet_lite0"):
        Attributor.load(tmp_path / "model", device="cpu")
    loaded = Attributor.load(tmp_path / "model", device="cpu", backbone=str(tiny_clip))
    assert loaded.attribute(images[:1])[0].origin


def test_answer_as_json_and_as_row(attributor: Attributor, images: list[Image.Image]) -> None:
    good, bad = attributor.attribute([images[0], b"no image"])
    assert json.loads(json.dumps(good.as_dict())) == {
        "image": "image 1",
        "evidence": None,
        "evidence_origin": None,
        "evidence_strength": None,
        "evidence_agrees": None,
        "provenance": None,
        "origin": good.origin,
        "probabilities": good.probabilities,
        "score": good.score,
        "threshold": good.threshold,
        "coarse_origin": good.coarse_origin,
        "prediction_set": None,
        "error": "",
        "nearest": None,
        "score_percentile": good.score_percentile,
        "stability": None,
        "differing_copies": None,
        "original_answer": None,
        "width": 32,
        "height": 32,
        "notes": [],
    }
    schema = make_answer_schema(attributor.model.origins)
    rows = [answer.as_row(schema) for answer in (good, bad)]
    assert [list(row) for row in rows] == [schema.names] * 2
    assert rows[0]["p(gan)"] == good.probabilities["gan"]
    assert rows[1]["error"] == bad.error != ""
    assert rows[1]["p(gan)"] is None


def test_prediction_sets_have_the_requested_coverage(
    models: dict[str, OriginModel], encoder: Encoder, images: list[Image.Image], tmp_path: Path
) -> None:
    """On the calibration images, the coverage is at least the requested coverage."""
    model, labels = models["linear"], np.repeat(np.arange(3), 8)
    attributor = Attributor(load_model(save_model(model, tmp_path)), encoder)
    sizes = []
    for coverage in (0.5, 0.9):
        answers = attributor.attribute(images, coverage=coverage)
        sets = [answer.prediction_set or () for answer in answers]
        held = [model.origins[y] in s for s, y in zip(sets, labels, strict=True)]
        assert np.mean(held) >= coverage
        sizes.append(np.mean([len(s) for s in sets]))
        for answer, s in zip(answers, sets, strict=True):
            ranked = sorted(answer.probabilities, key=lambda o: -answer.probabilities[o])
            assert list(s) == ranked[: len(s)]
    assert sizes[0] < sizes[1]
    # 24 images are too few for 99 %: every set contains all origins, and a note warns about it.
    schema = make_answer_schema(model.origins, prediction_sets=True)
    (answer,) = attributor.attribute(images[0], coverage=0.99)
    assert answer.as_row(schema)["prediction_set"].count(" ") == 2
    assert "Too few" in attributor.compute_quantile(0.99).notes[0]
    # The kth lowest score of the calibration images has the percentile 100 k / n.
    ranks = sorted(answer.score_percentile or 0 for answer in attributor.attribute(images))
    assert ranks == pytest.approx(100 * np.arange(1, 25) / 24)


@pytest.fixture(scope="session")
def python() -> Callable[[str], str]:
    """Return a function that runs code in a new Python process and returns its output."""

    def run(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    return run


def test_import_does_not_import_torch(
    python: Callable[[str], str],
) -> None:
    code = (
        "import sys, whichgen; print('torch' in sys.modules, 'numpy' in sys.modules); "
        "from whichgen import *; print(Attributor.__name__)"
    )
    assert python(code).splitlines() == ["False False", "Attributor"]


def test_unknown_name_is_an_attribute_error() -> None:
    import whichgen

    with pytest.raises(AttributeError, match="nonsense"):
        whichgen.nonsense  # noqa: B018


def test_coarse_origin_is_the_most_specific_certain_answer(
    attributor: Attributor, encoder: Encoder, images: list[Image.Image]
) -> None:
    rejecting = replace(attributor.model, threshold=np.inf)
    families = {"gan": "GAN", "vae": "VAE"}
    for levels, expected in (
        (Hierarchy(families, np.inf, np.inf, -np.inf), {"unknown"}),
        (Hierarchy(families, 0, 0, np.inf), {"real", "synthetic"}),
        (Hierarchy(families, 0, 0, -np.inf), {"real", "GAN", "VAE"}),
    ):
        answers = Attributor(replace(rejecting, hierarchy=levels), encoder).attribute(images)
        assert {a.origin for a in answers} == {"unknown"}
        assert {a.coarse_origin for a in answers} <= expected
    assert (
        len({a.coarse_origin for a in Attributor(attributor.model, encoder).attribute(images)}) > 1
    )
    assert all(
        a.coarse_origin == a.origin for a in attributor.attribute(images) if a.origin != "unknown"
    )
