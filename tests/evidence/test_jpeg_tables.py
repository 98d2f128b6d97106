"""JPEG's tables: libjpeg's own at every quality, others, sampling and order of scans."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from whichgen.evidence.metadata.jpeg_tables import find_qualities

from .conftest import encode, findings, picture


@pytest.mark.parametrize("quality", range(5, 101, 5))
def test_libjpeg_quality_is_recovered(quality: int) -> None:
    data = encode("JPEG", quality=quality)
    (finding,) = findings(data, "jpeg")
    assert f"standard libjpeg tables of quality {quality}," in finding.title
    assert finding.indicates == "neutral"
    with Image.open(io.BytesIO(data)) as image:
        assert find_qualities(image.quantization[0]) == [quality]
        assert find_qualities(image.quantization[1], chrominance=True) == [quality]
        assert find_qualities(image.quantization[1]) == ([100] if quality == 100 else [])


def test_modified_table_is_not_standard() -> None:
    with Image.open(io.BytesIO(encode("JPEG", quality=75))) as image:
        tables = {i: list(values) for i, values in image.quantization.items()}
    tables[0][3] += 1
    (finding,) = findings(encode("JPEG", qtables=tables), "jpeg")
    assert finding.title.startswith("nonstandard quantization tables")
    (finding,) = findings(encode("JPEG", qtables=[list(range(1, 65)), [9] * 64]), "jpeg")
    assert finding.title.startswith("nonstandard quantization tables")


def test_two_qualities_are_reported() -> None:
    def tables(quality: int) -> dict[int, list[int]]:
        with Image.open(io.BytesIO(encode("JPEG", quality=quality))) as image:
            return image.quantization

    (finding,) = findings(encode("JPEG", qtables=[tables(80)[0], tables(60)[1]]), "jpeg")
    assert "qualities 80 (luminance) and 60 (chrominance)" in finding.title


@pytest.mark.parametrize(("subsampling", "ratio"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_sampling_and_scan_order_are_reported(subsampling: int, ratio: str) -> None:
    (finding,) = findings(encode("JPEG", subsampling=subsampling), "jpeg")
    assert finding.detail == f"chroma subsampling {ratio}; sequential"
    (finding,) = findings(encode("JPEG", subsampling=subsampling, progressive=True), "jpeg")
    assert finding.detail == f"chroma subsampling {ratio}; progressive"


def test_grayscale_has_one_table_and_other_formats_none() -> None:
    file = io.BytesIO()
    picture().convert("L").save(file, "JPEG", quality=90)
    (finding,) = findings(file.getvalue(), "jpeg")
    assert "quality 90," in finding.title
    assert "grayscale" in finding.detail
    assert findings(encode("WEBP"), "jpeg") == []
