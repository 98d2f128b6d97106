"""JPEG: whose quantization tables it has, how its colors are sampled, and whether progressive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, JpegImagePlugin
from PIL.JpegImagePlugin import JpegImageFile

from whichgen.evidence.finding import Evidence, Finding

# The tables that ITU-T T.81 gives as examples (annex K.1) and that libjpeg scales, row by row.
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
    """What a JPEG's tables say; nothing of other formats. It speaks for no origin."""
    if not isinstance(image, JpegImageFile):
        return Evidence()
    sampling = _SAMPLINGS.get(JpegImagePlugin.get_sampling(image), "")
    if len(image.layer) == 1:
        sampling = "none: grayscale"
    elif not sampling:
        sampling = " ".join(f"{h}x{v}" for _, h, v, _ in image.layer)
    order = "progressive" if image.info.get("progressive") else "sequential"
    detail = f"chroma sampling {sampling}; {order}"
    return Evidence((Finding("jpeg", _told(image.quantization), detail),))


def _told(tables: Mapping[int, Sequence[int]]) -> str:
    found = [
        qualities(tables[i], chrominance=base) for i, base in ((0, False), (1, True)) if i in tables
    ]
    if not found or not all(found) or len(tables) > 2:
        return "not the standard libjpeg tables: a camera's or an editor's (e.g. Photoshop) own"
    shown = [f"{q[0]}" if len(q) == 1 else f"{q[0]}–{q[-1]}" for q in found]
    if len(set(shown)) == 1:
        return f"standard libjpeg tables of quality {shown[0]}, which many programs use"
    return (
        f"standard libjpeg tables of qualities {shown[0]} (luminance) and {shown[1]} (chrominance)"
    )


def qualities(table: Sequence[int], *, chrominance: bool = False) -> list[int]:
    """The qualities, of 1…100, at which libjpeg would write exactly this table.

    Parameters
    ----------
    table
        64 values row by row, as Pillow's ``image.quantization`` has them.
    chrominance
        Which of the two standard tables it is to be.
    """
    values = np.asarray(table)
    # Eight bits a value hold up to 255; libjpeg goes over that only where it is allowed to.
    most = 255 if values.max(initial=0) <= 255 else 32767
    base = _CHROMINANCE if chrominance else _LUMINANCE
    return [q for q in range(1, 101) if np.array_equal(values, _scaled(base, q).clip(1, most))]


def _scaled(base: np.ndarray, quality: int) -> np.ndarray:
    """As ``jpeg_quality_scaling`` and ``jpeg_add_quant_table`` of libjpeg's jcparam.c do."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return (base * percent + 50) // 100
