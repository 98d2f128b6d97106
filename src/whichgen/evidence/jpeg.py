"""Describe JPEG quantization tables, chroma subsampling and scan order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, JpegImagePlugin
from PIL.JpegImagePlugin import JpegImageFile

from whichgen.evidence.finding import Evidence, Finding

# Example tables of ITU-T T.81 (annex K.1), which libjpeg scales, row by row.
_LUMINANCE = np.array(
    [
        *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
    ]
)
_CHROMINANCE = np.array(
    [
        *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
        *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
        *[99] * 32,
    ]
)

_SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}


def read_jpeg(image: Image.Image) -> Evidence:
    """Describe the quantization tables of a JPEG; return no findings for other formats."""
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
        return "nonstandard quantization tables, as written by cameras and editors (Photoshop)"
    luminance, *chrominance = [f"{q[0]}" if len(q) == 1 else f"{q[0]}–{q[-1]}" for q in matches]
    if not chrominance or chrominance == [luminance]:
        return f"standard libjpeg tables of quality {luminance}, as written by many programs"
    return (
        f"standard libjpeg tables of qualities {luminance} (luminance) and "
        f"{chrominance[0]} (chrominance)"
    )


def find_qualities(table: Sequence[int], *, chrominance: bool = False) -> list[int]:
    """Find the libjpeg qualities (1–100) that produce exactly the given table.

    Parameters
    ----------
    table
        64 values in row-major order, as in Pillow's ``image.quantization``.
    chrominance
        Compare with the standard chrominance table instead of the luminance table.
    """
    values = np.asarray(table)
    # libjpeg exceeds 8 bits only if baseline is not forced.
    max_value = 255 if values.max(initial=0) <= 255 else 32767
    base = _CHROMINANCE if chrominance else _LUMINANCE
    return [
        q for q in range(1, 101) if np.array_equal(values, _scale_table(base, q).clip(1, max_value))
    ]


def _scale_table(base: np.ndarray, quality: int) -> np.ndarray:
    """Scale a table to a quality, as ``jpeg_add_quant_table`` of libjpeg does."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return (base * percent + 50) // 100
