"""JPEG history: former JPEG files in lossless formats, and the quality of JPEG files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from whichgen.data.checks.check_dataset import check_samples
from whichgen.data.dataset import Sample, list_images
from whichgen.data.images.decoding import decode_file
from whichgen.data.images.jpeg_history import (
    THRESHOLD,
    JpegHistory,
    compute_jpeg_score,
    find_jpeg_history,
)


def picture(seed: int, side: int = 256) -> Image.Image:
    """Smooth shapes with texture, like a photograph."""
    rng = np.random.default_rng(seed)
    shapes = gaussian_filter(rng.normal(0, 1, (side, side, 3)), (12, 12, 0)) * 900
    texture = gaussian_filter(rng.normal(0, 1, (side, side, 3)), (0.8, 0.8, 0)) * 25
    return Image.fromarray((128 + shapes + texture).clip(0, 255).astype(np.uint8))


def compress(image: Image.Image, quality: int) -> Image.Image:
    """The pixels of the image as a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def score(image: Image.Image) -> float:
    return compute_jpeg_score(np.asarray(image.convert("L"), dtype=np.float64))


@pytest.mark.parametrize("quality", [60, 75, 90])
@pytest.mark.parametrize("shift", [(0, 0), (3, 5)])
def test_former_jpeg_is_found_at_any_position_of_the_grid(
    quality: int, shift: tuple[int, int]
) -> None:
    for seed in range(3):
        image = picture(seed)
        assert score(image) < THRESHOLD
        assert score(compress(image, quality).crop((*shift, 250, 250))) > 2 * THRESHOLD


def test_images_without_detail_have_no_history() -> None:
    assert score(Image.new("RGB", (128, 128), "gray")) == 0
    assert score(picture(0).crop((0, 0, 63, 200))) == 0


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 100])
def test_quality_of_a_jpeg_file(tmp_path: Path, quality: int) -> None:
    picture(0).save(tmp_path / "a.jpg", quality=quality)
    data = (tmp_path / "a.jpg").read_bytes()
    assert find_jpeg_history(decode_file(data)) == JpegHistory(quality, is_former_jpeg=False)


def test_check_warns_if_origins_differ_in_jpeg_history(tmp_path: Path) -> None:
    for i in range(5):
        for origin, former in (("real", True), ("gan", False), ("vae", False)):
            (tmp_path / origin).mkdir(exist_ok=True)
            image = picture(10 * i + len(origin) + former)
            image = compress(image, 85) if former else image
            image.save(tmp_path / origin / f"{i}.png")
    samples = [Sample(p, p.parent.name) for p in list_images(tmp_path)]
    report = check_samples(samples)
    assert {o.origin: o.former_jpeg for o in report.origins} == {"gan": 0, "real": 5, "vae": 0}
    (warning,) = [w for w in report.warnings if "traces of JPEG" in w]
    assert "differs between origins: gan 0 %, real 100 %, vae 0 %." in warning
    assert "Encode the original files of all origins in the same way" in warning


def test_check_warns_if_origins_differ_in_jpeg_quality(tmp_path: Path) -> None:
    for i in range(4):
        for origin, quality in (("real", 95), ("gan", 75)):
            (tmp_path / origin).mkdir(exist_ok=True)
            picture(i + quality).save(tmp_path / origin / f"{i}.jpg", quality=quality)
    report = check_samples([Sample(p, p.parent.name) for p in list_images(tmp_path)])
    assert {o.origin: o.qualities for o in report.origins} == {"gan": {"75": 4}, "real": {"95": 4}}
    assert sum("have JPEG quality" in w for w in report.warnings) == 2
