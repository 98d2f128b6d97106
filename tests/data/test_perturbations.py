"""Perturbations against independent computations."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from scipy.signal import convolve2d

from whichgen.data.images.perturbations import (
    INTENSITIES,
    SOCIAL,
    Perturbation,
    list_perturbations,
    parse_perturbation,
)
from whichgen.errors import DataError


@pytest.fixture
def photo(noise: Callable[..., Image.Image]) -> Image.Image:
    """A seeded 80 × 60 RGB image."""
    return noise(5, (80, 60))


def test_intensities_match_the_paper() -> None:
    assert {k: (min(v), max(v), len(v)) for k, v in INTENSITIES.items()} == {
        "jpeg": (10, 75, 5),
        "blur": (3, 15, 5),
        "crop": (5, 20, 5),
        "resize": (128, 1024, 5),
        "social": (1, 5, 5),
    }
    assert len(list_perturbations()) == 25
    assert [str(p) for p in list_perturbations(["crop"])] == [
        *("crop:5", "crop:8.75", "crop:12.5", "crop:16.25", "crop:20")
    ]


@pytest.mark.parametrize("perturbation", list_perturbations(), ids=str)
def test_result_is_rgb_and_name_parses_back(photo: Image.Image, perturbation: Perturbation) -> None:
    before = photo.tobytes()
    changed = perturbation(photo)
    assert changed.mode == "RGB"
    assert changed.tobytes() != before == photo.tobytes()
    assert perturbation(photo).tobytes() == changed.tobytes()
    assert parse_perturbation(str(perturbation)) == perturbation


@pytest.mark.parametrize("quality", [75, 10])
def test_jpeg_is_saved_at_its_quality(photo: Image.Image, quality: int) -> None:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    expected = np.asarray(Image.open(buffer))
    result = Perturbation("jpeg", quality)(photo)
    assert np.array_equal(np.asarray(result), expected)
    # The tables of that quality are in the file: the first entry of the standard one is 16.
    table = Image.open(buffer).quantization[0]
    assert table[0] == round(16 * (200 - 2 * quality if quality >= 50 else 5000 / quality) / 100)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_social_is_crop_downscale_and_jpeg(photo: Image.Image, step: int) -> None:
    percent, scale, quality = SOCIAL[step]
    result = Perturbation("social", step)(photo)
    assert result.size == tuple(round(side * (1 - percent / 100) * scale) for side in photo.size)
    left, top = (side * percent / 200 for side in photo.size)
    inner = photo.resize(
        result.size, Image.Resampling.BICUBIC, (left, top, photo.width - left, photo.height - top)
    )
    buffer = io.BytesIO()
    inner.save(buffer, "JPEG", quality=quality)
    assert np.array_equal(np.asarray(result), np.asarray(Image.open(buffer)))


def test_social_steps_increase_in_strength() -> None:
    for (cut, scale, quality), (more, smaller, worse) in pairwise(SOCIAL.values()):
        assert cut < more and scale > smaller and quality > worse


@pytest.mark.parametrize("kernel", [1, 3, 5, 9, 15])
def test_blur_is_a_gaussian_convolution_of_sigma_3(photo: Image.Image, kernel: int) -> None:
    radius = kernel // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    weights = np.exp(-(x**2 + y**2) / (2 * 3.0**2))
    weights /= weights.sum()
    pixels = np.asarray(photo, dtype=np.float64)
    padded = np.pad(pixels, ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    expected = np.stack(
        [convolve2d(padded[..., c], weights, mode="valid") for c in range(3)], axis=-1
    )
    result = np.asarray(Perturbation("blur", kernel)(photo), dtype=np.float64)
    assert result.shape == pixels.shape
    # 8-bit rounding, and float32 sums at the very edge of it.
    assert np.abs(result - expected).max() <= 0.5 + 1e-3


def test_blur_works_on_image_smaller_than_kernel() -> None:
    tiny = Image.new("RGB", (2, 1), (10, 20, 30))
    assert Perturbation("blur", 15)(tiny).tobytes() == tiny.tobytes()


@pytest.mark.parametrize("percent", [5, 10, 20])
def test_crop_is_centered_and_scales_back(photo: Image.Image, percent: int) -> None:
    big = photo.resize((400, 200))
    x, y = 400 * percent // 200, 200 * percent // 200
    cut = big.crop((x, y, 400 - x, 200 - y))
    assert cut.width == 400 * (100 - percent) // 100
    expected = np.asarray(cut.resize((400, 200), Image.Resampling.BICUBIC), dtype=int)
    result = Perturbation("crop", percent)(big)
    assert result.size == big.size
    # Pillow looks over the box's edge where it can, a cropped image ends there.
    inner = np.s_[4:-4, 4:-4]
    assert np.abs(np.asarray(result, dtype=int)[inner] - expected[inner]).max() <= 1


def test_crop_of_zero_changes_nothing(photo: Image.Image) -> None:
    assert Perturbation("crop", 0)(photo).tobytes() == photo.tobytes()


@pytest.mark.parametrize("size", [(80, 60), (60, 80), (50, 50), (1000, 10)])
@pytest.mark.parametrize("side", [8, 128])
def test_resize_sets_the_shorter_side_and_keeps_the_aspect(
    photo: Image.Image, size: tuple[int, int], side: int
) -> None:
    image = photo.resize(size)
    result = Perturbation("resize", side)(image)
    assert min(result.size) == side
    assert abs(max(result.size) - side * max(size) / min(size)) <= 0.5
    assert (result.width > result.height) == (image.width > image.height)
    assert result.tobytes() == image.resize(result.size, Image.Resampling.BICUBIC).tobytes()


def test_kind_alone_has_medium_intensity() -> None:
    assert parse_perturbation("jpeg") == Perturbation("jpeg", 42)
    assert parse_perturbation("jpeg:30") == Perturbation("jpeg", 30)


@pytest.mark.parametrize(
    "text", ["", "jepg:30", "jpeg:", "jpeg:x", "jpeg:30:2", ":30", "noise", "blur:3px"]
)
def test_invalid_perturbation_is_an_error(text: str) -> None:
    with pytest.raises(DataError, match=r"perturbation .*jpeg, blur, crop, resize"):
        parse_perturbation(text)


@pytest.mark.parametrize(
    "text",
    [
        *("jpeg:0", "jpeg:101", "jpeg:30.5", "jpeg:nan", "blur:4", "blur:0", "blur:101"),
        *("blur:3.5", "crop:-1", "crop:91", "crop:inf", "resize:7", "resize:8193", "resize:99.5"),
    ],
)
def test_value_out_of_range_names_the_range(text: str) -> None:
    with pytest.raises(DataError, match=f"{text}: the value must be .* from [018]+ to [0-9]+"):
        parse_perturbation(text)


def test_different_perturbations_have_different_names() -> None:
    assert str(Perturbation("crop", 12.3456789)) != str(Perturbation("crop", 12.3456788))
