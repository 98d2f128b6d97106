"""Images that differ from the training images get a note with the answer."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whichgen.data.dataset import Sample
from whichgen.data.images.decoding import decode_image
from whichgen.data.images.image_reader import ImageReader, measure_sizes
from whichgen.data.images.reliability_traits import (
    ImageTraits,
    TrainingSizes,
    read_traits,
)
from whichgen.encoders.encoder import Encoder
from whichgen.inference.answer_table import make_answer_schema
from whichgen.inference.attribution import Attribution
from whichgen.inference.attributor import Attributor
from whichgen.inference.feature_range import FAR_NOTE, MIN_EXEMPLARS, TrainingRange
from whichgen.inference.reliability_notes import describe_unusual_traits
from whichgen.inference.verdict import make_verdict
from whichgen.models.origin_model import OriginModel
from whichgen.models.saved_model import load_model, save_model

SIZES = TrainingSizes(256, 1000)


@pytest.fixture
def attributor(models: dict[str, OriginModel], encoder: Encoder) -> Attributor:
    """Linear probe with its encoder."""
    return Attributor(models["linear"], encoder)


@pytest.mark.parametrize(
    ("width", "height", "start"),
    [
        (8, 8, "Too small: 8 × 8 pixels"),
        (2000, 31, "Too small: 2000 × 31 pixels"),
        (127, 500, "Small: 127 × 500 pixels; most training images have sides of 256 to 1000 pix"),
        (2001, 500, "Large: 2001 × 500 pixels; most training images have sides of 256 to 1000 pix"),
    ],
)
def test_size_far_from_training_is_noted(width: int, height: int, start: str) -> None:
    (note,) = describe_unusual_traits(ImageTraits(width, height, 50.0), SIZES)
    assert note.startswith(start)


@pytest.mark.parametrize(("width", "height"), [(128, 128), (2000, 2000), (256, 1000)])
def test_usual_size_is_not_noted(width: int, height: int) -> None:
    assert describe_unusual_traits(ImageTraits(width, height, 50.0), SIZES) == ()


def test_size_without_a_record_of_training_sizes() -> None:
    assert describe_unusual_traits(ImageTraits(40, 9000, 50.0), None) == ()
    assert describe_unusual_traits(ImageTraits(31, 31, 50.0), None)


def test_image_of_one_color_is_noted() -> None:
    flat = Image.new("RGB", (300, 300), (200, 180, 90))
    assert describe_unusual_traits(read_traits(flat), SIZES)[0].startswith("Almost one color:")
    flat.paste((0, 0, 0), (0, 0, 100, 100))
    assert describe_unusual_traits(read_traits(flat), SIZES) == ()


def test_repaired_jpeg_is_noted(images: list[Image.Image], attributor: Attributor) -> None:
    buffer = io.BytesIO()
    images[0].save(buffer, "JPEG", quality=95)
    cut, whole = attributor.attribute([buffer.getvalue()[:-2], buffer.getvalue()])
    assert (cut.origin, cut.score) == (whole.origin, whole.score)
    assert cut.notes == (
        "Damaged: the end marker of the JPEG file is missing; the file may have been cut.",
    )
    assert whole.notes == ()


def test_training_sizes_omit_extremes_and_unreadable_files(tmp_path: Path) -> None:
    samples = []
    for i, size in enumerate([(64, 80)] * 98 + [(2, 2), (900, 900)]):
        Image.new("RGB", size).save(tmp_path / f"{i}.png")
        samples.append(Sample(tmp_path / f"{i}.png", "gan"))
    (tmp_path / "x.png").write_bytes(b"")
    samples.append(Sample(tmp_path / "x.png", "gan"))
    sizes = measure_sizes(samples, ImageReader())
    assert sizes is not None
    assert 60 <= sizes.shortest <= 64
    assert 80 <= sizes.longest <= 90
    assert measure_sizes(samples[-1:], ImageReader()) is None
    assert measure_sizes([], ImageReader()) is None


def test_answers_state_size_and_notes(
    attributor: Attributor, images: list[Image.Image], tmp_path: Path
) -> None:
    metadata = {**attributor.model.run_metadata, "training_sizes": {"shortest": 32, "longest": 32}}
    model = replace(attributor.model, run_metadata=metadata)
    assert load_model(save_model(model, tmp_path)).training_sizes == TrainingSizes(32, 32)
    large = images[0].resize((70, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # size after EXIF rotation
    buffer = io.BytesIO()
    large.save(buffer, "PNG", exif=exif)
    usual, unusual, unread = Attributor(model, attributor.encoder).attribute(
        [images[0], buffer.getvalue(), b""], stability=True
    )
    assert (usual.width, usual.height, usual.notes) == (32, 32, ())
    assert (unusual.width, unusual.height) == (40, 70)
    (note,) = unusual.notes
    assert note.startswith("Large: 40 × 70 pixels; most training images have sides of 32 pixels")
    assert (unread.width, unread.height, unread.notes) == (None, None, ())
    row = unusual.as_row(make_answer_schema(model.origins))
    assert (row["width"], row["height"], row["notes"]) == (40, 70, note)
    assert make_verdict(unusual).detail.startswith(note)
    assert not make_verdict(usual).detail.startswith("Large")


def test_features_outside_the_range_of_the_exemplars_are_far() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(5, 2, (60, 300))
    training = TrainingRange(x.astype(np.float16), (100, 200))
    similar, far = rng.normal(5, 2, (200, 300)), rng.normal(5, 4, (50, 300))
    assert not training.is_far(similar).any()
    assert training.is_far(far).all()
    one_view = similar.copy()
    one_view[:, :100] += 10
    assert training.is_far(one_view).all()
    few = TrainingRange(x[: MIN_EXEMPLARS - 1], (100, 200))
    assert not few.is_far(far).any()


def test_constant_features_have_a_range() -> None:
    x = np.ones((30, 4))
    x[:, 2:] += np.arange(30)[:, None]
    training = TrainingRange(x, (2, 2))
    assert not training.is_far(x).any()
    assert training.is_far(x + 1e3).all()


def test_far_images_are_noted_with_the_answer(
    attributor: Attributor, images: list[Image.Image]
) -> None:
    exemplars = replace(
        attributor.model.exemplars, features=1e-3 * attributor.model.exemplars.features
    )
    shifted = Attributor(replace(attributor.model, exemplars=exemplars), attributor.encoder)
    (far,) = shifted.attribute(images[:1])
    (usual,) = attributor.attribute(images[:1])
    assert far.notes == (FAR_NOTE,)
    assert replace(far, notes=()) == usual


def test_notes_do_not_change_the_answer_of_the_page() -> None:
    answer = Attribution("a.png", "gan", {"gan": 0.9, "real": 0.1}, 0.9, 0.5, "gan")
    noted = replace(answer, notes=("Too small.",))
    assert make_verdict(noted).words == make_verdict(answer).words


def test_sample_of_8_pixels_of_noise(shared: Path, attributor: Attributor) -> None:
    (answer,) = attributor.attribute([shared / "cases" / "8x8.png"])
    assert answer.notes[0].startswith("Too small: 8 × 8 pixels")
    assert decode_image((shared / "cases" / "8x8.png").read_bytes()).size == (8, 8)
