"""Describe JPEG quantization tables, chroma subsampling and scan order."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache

from PIL import Image, JpegImagePlugin
from PIL.JpegImagePlugin import JpegImageFile

from whichgen.evidence.finding import Evidence, Finding

_SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}


def read_jpeg(image: Image.Image) -> Evidence:
    """Describe the quantization tables, chroma subsampling and scan order of a JPEG image.

    Parameters
    ----------
    image
        Image as opened by Pillow.

    Returns
    -------
    Evidence
        One ``neutral`` finding; empty for other formats.
    """
    if not isinstance(image, JpegImageFile):
        return Evidence()
    sampling = _SAMPLINGS.get(JpegImagePlugin.get_sampling(image), "")
    if len(image.layer) == 1:
        sampling = "none: grayscale"
    elif not sampling:
        sampling = " ".join(f"{h}x{v}" for _, h, v, _ in image.layer)
    order = "progressive" if image.info.get("progressive") else "sequential"
    detail = f"chroma subsampling {sampling}; {order}"
    return Evidence((Finding("jpeg", _describe_tables(image.quantization), detail),))


def _describe_tables(tables: Mapping[int, Sequence[int]]) -> str:
    matches = [find_qualities(tables[i], chrominance=i == 1) for i in (0, 1) if i in tables]
    if not matches or not all(matches) or len(tables) > 2:
        return "nonstandard quantization tables, as written by cameras and some photo editors"
    luminance, *chrominance = [f"{q[0]}" if len(q) == 1 else f"{q[0]}–{q[-1]}" for q in matches]
    if not chrominance or chrominance == [luminance]:
        return f"standard libjpeg tables of quality {luminance}, as written by many programs"
    return (
        f"standard libjpeg tables of qualities {luminance} (luminance) and "
        f"{chrominance[0]} (chrominance)"
    )


def find_qualities(table: Sequence[int], *, chrominance: bool = False) -> list[int]:
    """Find the libjpeg qualities (1–100) that produce exactly this quantization table.

    Parameters
    ----------
    table
        Quantization table: 64 integers in row-major order, as in Pillow's ``image.quantization``.
    chrominance
        Whether to compare with scaled versions of the standard chrominance table instead of the
        standard luminance table.

    Returns
    -------
    list of int
        The qualities in ascending order; empty if no quality produces the table.
    """
    # libjpeg writes values above 255 only if baseline JPEG is not forced.
    max_value = 255 if max(table, default=0) <= 255 else 32767
    base = _read_standard_tables()[int(chrominance)]
    return [q for q in range(1, 101) if list(table) == _scale_table(base, q, max_value)]


@cache
def _read_standard_tables() -> list[list[int]]:
    """Return the luminance and chrominance tables of ITU-T T.81, annex K.1, in row-major order.

    The tables are read from a JPEG of quality 50, at which libjpeg writes them unscaled.
    """
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=50)
    with JpegImageFile(io.BytesIO(buffer.getvalue())) as image:
        return [list(image.quantization[i]) for i in (0, 1)]


def _scale_table(base: Sequence[int], quality: int, max_value: int) -> list[int]:
    """Scale a standard table to a quality (1–100), with values from 1 to ``max_value``.

    The formula is from ``jpeg_quality_scaling`` and ``jpeg_add_quant_table`` in libjpeg.
    """
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return [min(max((value * percent + 50) // 100, 1), max_value) for value in base]
