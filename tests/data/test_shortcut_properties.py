"""File properties, one by one."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from whichgen.data.checks.shortcut_properties import (
    PROPERTIES,
    PROPERTY_SETS,
    list_properties,
    select_properties,
)
from whichgen.data.dataset import Sample
from whichgen.data.images.image_facts import ImageFacts
from whichgen.data.images.image_reader import ImageReader

Noise = Callable[..., Image.Image]


def traits(path: Path) -> dict[str, float]:
    """The traits of a file by name."""
    (row,) = list_properties(read_facts(path)).tolist()
    return dict(zip(PROPERTIES, row, strict=True))


def read_facts(*paths: Path) -> list[ImageFacts]:
    """Facts about readable files."""
    facts = list(ImageReader().read([Sample(path, "real") for path in paths]))
    assert all(isinstance(f, ImageFacts) for f in facts)
    return cast("list[ImageFacts]", facts)


def flags(properties: dict[str, float], kind: str) -> set[str]:
    """The traits of a kind that are set."""
    return {
        name.removeprefix(f"{kind}_")
        for name in properties
        if name.startswith(kind) and properties[name]
    }


def test_sizes_match_the_file(tmp_path: Path, noise: Noise) -> None:
    path = tmp_path / "a.png"
    noise(0, (40, 25)).save(path)
    properties = traits(path)
    assert properties["bytes"] == path.stat().st_size
    assert properties["bytes_per_pixel"] == path.stat().st_size / 1000
    assert (properties["width"], properties["height"], properties["aspect"]) == (40, 25, 1.6)


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        (".jpg", "JPEG"),
        (".png", "PNG"),
        (".webp", "WEBP"),
        (".gif", "GIF"),
        (".bmp", "BMP"),
        (".tiff", "TIFF"),
        (".ppm", "PPM"),
        (".tga", "other"),
    ],
)
def test_format_is_that_of_the_content(
    tmp_path: Path, noise: Noise, suffix: str, form: str
) -> None:
    noise(0).save(tmp_path / f"a{suffix}")
    path = (tmp_path / f"a{suffix}").rename(tmp_path / "a.dat")
    assert flags(traits(path), "format") == {form}


@pytest.mark.parametrize(
    ("mode", "suffix", "flag"),
    [
        ("RGB", ".png", "RGB"),
        ("RGBA", ".png", "RGBA"),
        ("L", ".png", "L"),
        ("LA", ".png", "LA"),
        ("P", ".png", "P"),
        ("1", ".png", "1"),
        ("CMYK", ".jpg", "CMYK"),
        ("I;16", ".png", "I;16"),
        ("F", ".tiff", "other"),
    ],
)
def test_mode_is_the_stored_mode(
    tmp_path: Path, noise: Noise, mode: str, suffix: str, flag: str
) -> None:
    image = noise(0)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    image.save(tmp_path / f"a{suffix}")
    assert np.isfinite(list_properties(read_facts(tmp_path / f"a{suffix}"))).all()
    assert flags(traits(tmp_path / f"a{suffix}"), "mode") == {flag}


def test_color_is_mean_and_std_per_channel(
    tmp_path: Path,
) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[..., 0] = [[10, 30], [10, 30]]
    pixels[..., 1] = 200
    pixels[..., 3] = 255
    pixels[0, :, 3] = 0  # clear: white is seen
    Image.fromarray(pixels).save(tmp_path / "a.png")
    properties = traits(tmp_path / "a.png")
    red, green, blue = [255, 255, 10, 30], [255, 255, 200, 200], [255, 255, 0, 0]
    for name, values in (("red", red), ("green", green), ("blue", blue)):
        assert properties[f"mean_{name}"] == pytest.approx(np.mean(values))
        assert properties[f"std_{name}"] == pytest.approx(np.std(values))


def test_quantization_tables_match_the_jpeg_file(tmp_path: Path, noise: Noise) -> None:
    tables = [list(range(1, 65)), list(range(101, 165))]
    noise(0).save(tmp_path / "a.jpg", qtables=tables)
    properties = traits(tmp_path / "a.jpg")
    for table in range(2):
        assert [properties[f"quantization_{table}_{i}"] for i in range(64)] == tables[table]
    noise(0).convert("L").save(tmp_path / "gray.jpg", qtables=tables[:1])
    gray = traits(tmp_path / "gray.jpg")
    assert [gray[f"quantization_0_{i}"] for i in range(64)] == tables[0]
    assert not any(gray[f"quantization_1_{i}"] for i in range(64))
    noise(0).save(tmp_path / "a.png")
    assert flags(traits(tmp_path / "a.png"), "quantization") == set()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_metadata_is_detected(tmp_path: Path, noise: Noise, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0110] = "a camera"

    def save_and_read(**keywords: Any) -> dict[str, float]:
        noise(0).save(tmp_path / f"a{suffix}", **keywords)
        return traits(tmp_path / f"a{suffix}")

    assert [save_and_read()[name] for name in ("exif", "icc")] == [0, 0]
    assert [save_and_read(exif=exif)[name] for name in ("exif", "icc")] == [1, 0]
    assert [save_and_read(icc_profile=b"profile")[name] for name in ("exif", "icc")] == [0, 1]


def test_exif_after_the_pixels_of_a_png_is_detected(tmp_path: Path, noise: Noise) -> None:
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    buffer = io.BytesIO()
    noise(0).save(buffer, "PNG", exif=exif)
    data = buffer.getvalue()
    at = data.index(b"eXIf") - 4
    chunk = data[at : at + 12 + int.from_bytes(data[at : at + 4])]
    variant = data.replace(chunk, b"")
    end = variant.index(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(variant[:end] + chunk + variant[end:])
    assert traits(tmp_path / "a.png")["exif"] == 1


def test_sizes_are_those_before_exif_rotation(tmp_path: Path, noise: Noise) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(0, (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    properties = traits(tmp_path / "a.jpg")
    assert (properties["width"], properties["height"]) == (40, 20)


def test_rows_are_in_order_and_columns_are_selected_by_name(
    image_folder: Callable[..., Path],
) -> None:
    folder = image_folder({"real": 6})
    paths = [folder / "real" / f"{i:03d}.png" for i in (5, 0, 1)]
    properties = list_properties(read_facts(*paths))
    np.testing.assert_array_equal(
        properties, np.vstack([list_properties(read_facts(path)) for path in paths])
    )
    np.testing.assert_array_equal(
        select_properties(properties, ("width", "bytes")),
        properties[:, [PROPERTIES.index(n) for n in ("width", "bytes")]],
    )
    assert list_properties([]).shape == (0, len(PROPERTIES))


def test_property_sets_are_a_partition() -> None:
    assert len(set(PROPERTIES)) == len(PROPERTIES)
    assert PROPERTY_SETS["all"] == PROPERTIES
    assert {*PROPERTY_SETS["file"]} | {*PROPERTY_SETS["color"]} == {*PROPERTIES}
    assert not {*PROPERTY_SETS["file"]} & {*PROPERTY_SETS["color"]}
    assert all(name.startswith(("mean_", "std_")) for name in PROPERTY_SETS["color"])
