"""Invisible watermarks: the decoder against the library, and an exact test."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from whichgen.evidence.collect import Finding, collect
from whichgen.evidence.hidden_data.watermark_decoder import (
    compute_u_channel,
    decode_bits,
    read_blocks,
    transform_float,
    transform_u,
)
from whichgen.evidence.hidden_data.watermarks import (
    _CROPPED,
    WATERMARKS,
    Watermark,
    read_watermarks,
)

FOLDER = Path(__file__).parent / "watermarks"
BITS: dict[str, dict[str, str]] = json.loads((FOLDER / "bits.json").read_text(encoding="utf-8"))


def texture(seed: int, width: int, height: int) -> Image.Image:
    """Colored noise of several scales, as rough as a photograph."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 128.0)
    for scale in (1, 4, 16, 64):
        small = rng.normal(0, 6 * scale**0.4, (height // scale + 1, width // scale + 1, 3))
        pixels += small.repeat(scale, 0).repeat(scale, 1)[:height, :width]
    return Image.fromarray(pixels.clip(20, 235).astype(np.uint8))


def embed(image: Image.Image, watermark: Watermark, *, swapped: bool = False) -> Image.Image:
    """Watermark the U channel in floating-point numbers, in the way of the library."""
    rgb = np.asarray(image, np.float64)[..., :: -1 if swapped else 1].copy()
    height, width = (size // 8 * 8 for size in rgb.shape[:2])
    luma = rgb @ (0.299, 0.587, 0.114)
    u = 0.492 * (rgb[..., 2] - luma) + (0.5 if watermark.is_float else 128)
    part = u[:height, :width].reshape(height // 2, 2, width // 2, 2)
    haar = part.sum(axis=(1, 3)) / 2
    blocks = haar.reshape(height // 8, 4, width // 8, 4).transpose(0, 2, 1, 3).reshape(-1, 16)
    changed = blocks.copy()
    rows = np.arange(len(blocks))
    largest = np.abs(blocks[:, 1:]).argmax(axis=1) + 1
    bits = watermark.bits[rows % len(watermark.bits)]
    values = blocks[rows, largest]
    magnitudes = (np.abs(values) // 36 + 0.25 + 0.5 * bits) * 36
    changed[rows, largest] = np.where(values < 0, -magnitudes, magnitudes)
    shift = (changed - blocks).reshape(height // 8, width // 8, 4, 4).transpose(0, 2, 1, 3)
    shift = shift.reshape(height // 2, width // 2).repeat(2, 0).repeat(2, 1) / 2
    # Blue alone changes; U follows by 0.492 × (1 − 0.114).
    rgb[:height, :width, 2] += shift / (0.492 * 0.886)
    pixels = rgb[..., :: -1 if swapped else 1].round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels))


def find(image: Image.Image, kind: str = "PNG", **options: Any) -> list[Finding]:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return [f for f in collect(file.getvalue()).findings if f.kind == "watermark"]


def planes(image: Image.Image) -> tuple[NDArray[np.uint8], ...]:
    return tuple(np.asarray(channel) for channel in image.convert("RGB").split())


@pytest.mark.parametrize("name", BITS)
def test_bits_equal_those_of_the_library(name: str) -> None:
    red, green, blue = planes(Image.open(FOLDER / f"{name}.png"))
    haar = {
        "uint8": transform_u(compute_u_channel((red, green, blue))),
        "float": transform_float((red, green, blue)),
        "float RGB": transform_float((blue, green, red)),
    }
    for key, expected in BITS[name].items():
        variant, _, length = key.rpartition(" ")
        bits = decode_bits(read_blocks(haar[variant]), int(length))
        assert "".join(str(int(bit)) for bit in bits) == expected, key


def test_library_is_read_where_it_is_installed(shared: Path) -> None:
    imwatermark = pytest.importorskip("imwatermark")
    for path in sorted((shared / "wild" / "real").rglob("*.jpg"))[:20]:
        image = Image.open(path).convert("RGB")
        bgr = np.ascontiguousarray(np.asarray(image)[..., ::-1])
        bits = decode_bits(read_blocks(transform_u(compute_u_channel(planes(image)))), 136)  # type: ignore[arg-type]
        assert np.array_equal(bits, imwatermark.WatermarkDecoder("bits", 136).decode(bgr, "dwtDct"))


@pytest.mark.parametrize(
    ("name", "generator", "details"),
    [
        (
            "stable-diffusion-v1",
            "Stable Diffusion 1",
            "131 of 136 bits match; p-value 6e-32",
        ),
        ("sdxl", "SDXL", "48 of 48 bits match; p-value 5e-14"),
    ],
)
def test_images_of_the_library_are_recognized(name: str, generator: str, details: str) -> None:
    evidence = collect((FOLDER / f"{name}.png").read_bytes())
    (finding,) = (f for f in evidence.findings if f.kind == "watermark")
    assert (finding.indicates, finding.generator) == ("synthetic", generator)
    assert details in finding.detail


@pytest.mark.parametrize("watermark", WATERMARKS, ids=lambda watermark: watermark.name)
def test_each_watermark_is_told_from_the_others(watermark: Watermark) -> None:
    (finding,) = find(embed(texture(1, 320, 256), watermark))
    assert finding.generator == watermark.generator
    assert find(texture(1, 320, 256)) == []


def test_watermark_in_wrong_channel_order_is_recognized() -> None:
    sdxl = next(watermark for watermark in WATERMARKS if watermark.generator == "SDXL")
    (finding,) = find(embed(texture(2, 512, 256), sdxl, swapped=True))
    assert finding.generator == "SDXL"


@pytest.mark.parametrize("box", [(3, 5, 500, 490), (100, 92, 460, 452), (8, 16, 488, 480)])
def test_cropped_image_is_recognized(box: tuple[int, int, int, int]) -> None:
    image = embed(texture(3, 512, 512), _CROPPED)
    (finding,) = find(image.crop(box))
    assert finding.generator == "Stable Diffusion 1"
    assert finding.detail.endswith("the image was cropped")
    assert find(texture(3, 512, 512).crop(box)) == []


def test_light_compression_leaves_a_watermark() -> None:
    image = embed(texture(4, 512, 512), WATERMARKS[0])
    assert len(find(image, "JPEG", quality=95, subsampling=0)) == 1
    assert find(image, "JPEG", quality=50) == []


def test_images_without_a_watermark_have_none() -> None:
    for seed in range(40):
        size = (256 + 24 * (seed % 5), 256 + 8 * (seed % 7))
        assert find(texture(seed, *size)) == []


@pytest.mark.parametrize("period", [1, 2, 4, 8, 16, 17, 34, 48, 64])
def test_regular_patterns_have_no_watermark(period: int) -> None:
    """Bits of stripes repeat; a long sequence of letters repeats in part, too."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        colors = rng.integers(0, 256, (period, 3)).repeat(8, 0).astype(np.uint8)
        columns = np.tile(colors, (512 // len(colors) + 1, 1))[:512]
        stripes = np.broadcast_to(columns, (512, 512, 3))
        assert find(Image.fromarray(np.ascontiguousarray(stripes))) == []
        assert find(Image.fromarray(np.ascontiguousarray(stripes[:500, :500]))) == []


@pytest.mark.parametrize("mode", ["L", "P", "1", "I;16", "CMYK", "LA"])
def test_other_color_modes_are_skipped(mode: str) -> None:
    assert read_watermarks(Image.new(mode, (300, 300))).findings == ()


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 8), (64, 3), (3, 400), (90, 90)])
def test_small_images_are_no_error(size: tuple[int, int]) -> None:
    assert read_watermarks(texture(0, *size)).findings == ()


def test_large_images_are_skipped() -> None:
    image = Image.new("RGB", (4096, 1025))
    assert read_watermarks(image).findings == ()
    image = embed(texture(5, 1024, 512), WATERMARKS[0])
    assert len(find(image)) == 1


def test_real_images_with_and_without_watermark(shared: Path) -> None:
    wild = shared / "wild"
    marked = sorted((wild / "stable_diffusion_1" / "edmundhong__stable-diffusion").iterdir())
    found = [read_watermarks(Image.open(path)).findings for path in marked]
    assert sum(map(bool, found)) >= 13
    assert {f.generator for findings in found for f in findings} == {"Stable Diffusion 1"}
    for path in sorted((wild / "real").rglob("*.*"))[::4]:
        assert read_watermarks(Image.open(path)).findings == ()
