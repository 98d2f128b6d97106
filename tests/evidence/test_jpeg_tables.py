"""JPEG's tables: libjpeg's own at every quality, others, sampling and order of scans."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from whichgen.evidence.jpeg import find_qualities

from .conftest import findings, picture, saved


@pytest.mark.parametrize("quality", range(5, 101, 5))
def test_the_quality_that_libjpeg_wrote_is_read_back(quality: int) -> None:
    data = saved("JPEG", quality=quality)
    (told,) = findings(data, "jpeg")
    assert f"standard libjpeg tables of quality {quality}," in told.title
    assert told.says == "neutral"
    with Image.open(io.BytesIO(data)) as image:
        assert find_qualities(image.quantization[0]) == [quality]
        assert find_qualities(image.quantization[1], chrominance=True) == [quality]
        assert find_qualities(image.quantization[1]) == ([100] if quality == 100 else [])


def test_one_step_off_the_standard_table_is_not_standard() -> None:
    with Image.open(io.BytesIO(saved("JPEG", quality=75))) as image:
        tables = {i: list(values) for i, values in image.quantization.items()}
    tables[0][3] += 1
    (told,) = findings(saved("JPEG", qtables=tables), "jpeg")
    assert told.title.startswith("not the standard libjpeg tables")
    (told,) = findings(saved("JPEG", qtables=[list(range(1, 65)), [9] * 64]), "jpeg")
    assert told.title.startswith("not the standard libjpeg tables")


def test_tables_of_two_qualities_are_told_as_two() -> None:
    def tables(quality: int) -> dict[int, list[int]]:
        with Image.open(io.BytesIO(saved("JPEG", quality=quality))) as image:
            return image.quantization

    (told,) = findings(saved("JPEG", qtables=[tables(80)[0], tables(60)[1]]), "jpeg")
    assert "qualities 80 (luminance) and 60 (chrominance)" in told.title


@pytest.mark.parametrize(("given", "told"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_sampling_and_scans_are_told(given: int, told: str) -> None:
    (found,) = findings(saved("JPEG", subsampling=given), "jpeg")
    assert found.detail == f"chroma sampling {told}; sequential"
    (found,) = findings(saved("JPEG", subsampling=given, progressive=True), "jpeg")
    assert found.detail == f"chroma sampling {told}; progressive"


def test_grayscale_has_one_table_and_other_formats_none() -> None:
    file = io.BytesIO()
    picture().convert("L").save(file, "JPEG", quality=90)
    (found,) = findings(file.getvalue(), "jpeg")
    assert "quality 90," in found.title
    assert "grayscale" in found.detail
    assert findings(saved("WEBP"), "jpeg") == []
