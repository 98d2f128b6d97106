"""Fast preprocessing: resize and crop with Pillow, then normalize with a lookup table.

transformers' processors give the same pixels but copy the image several times and hold the GIL;
this way 16 threads preprocess twice as many images per second (``benchmarks/RESULTS-GPU.md``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

Preprocess = Callable[[Image.Image], np.ndarray]

#: (width, height) of the images on which both ways are compared; 0: the native side.
_PROBE_SIZES = ((0, 0), (37, 61), (640, 480), (333, 517), (1200, 211))


def speed_up(preprocess: Preprocess, settings: Mapping[str, Any], side: int) -> Preprocess:
    """Return a faster function with bitwise identical results, or ``preprocess`` if none exists.

    Parameters
    ----------
    preprocess
        Function from an RGB image to a float32 array (3, h, w) of one shape for all images.
    settings
        Settings of a transformers processor: ``size``, ``crop_size``, ``resample``, …
    side
        Side of a square image that ``preprocess`` does not resize; 0 if unknown.
    """
    size, crop = (settings.get(key) or {} for key in ("size", "crop_size"))
    if not (side and settings.get("do_resize")) or size.get("longest_edge"):
        return preprocess
    table = _measure_table(preprocess, side)
    if table is None:
        return preprocess
    shortest = size.get("shortest_edge")

    def preprocess_fast(image: Image.Image) -> np.ndarray:
        width, height = image.size
        if shortest:
            short, long = sorted((width, height))
            scaled = int(shortest * long / short)
            target = (shortest, scaled) if width <= height else (scaled, shortest)
        else:
            target = (size["width"], size["height"])
        image = image.resize(target, settings["resample"])
        if settings.get("do_center_crop"):
            left, top = (target[0] - crop["width"]) // 2, (target[1] - crop["height"]) // 2
            image = image.crop((left, top, left + crop["width"], top + crop["height"]))
        return apply_table(np.asarray(image), table)

    rng = np.random.default_rng(0)
    probes = [
        Image.fromarray(rng.integers(0, 256, (height or side, width or side, 3), dtype=np.uint8))
        for width, height in _PROBE_SIZES
    ]
    try:
        same = all(np.array_equal(preprocess_fast(p), preprocess(p)) for p in probes)
    except (KeyError, TypeError, ValueError):  # unexpected settings
        return preprocess
    return preprocess_fast if same else preprocess


def apply_table(pixels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Map uint8 pixels (h, w, 3) by a float32 table (3, 256) to a float32 array (3, h, w)."""
    values = np.empty((3, *pixels.shape[:2]), np.float32)
    for channel, row in enumerate(table):
        np.take(row, pixels[..., channel], out=values[channel], mode="clip")
    return values


def _measure_table(preprocess: Preprocess, side: int) -> np.ndarray | None:
    """Measure the result for each value of each channel: float32 (3, 256), ``None`` on failure."""
    row, column = np.indices((side, side))
    levels = ((row * 16 + column) % 256).astype(np.uint8)  # a center crop has all levels, too
    result = preprocess(Image.fromarray(np.repeat(levels[..., None], 3, axis=2)))
    if result.ndim != 3 or result.shape[0] != 3 or max(result.shape[1:]) > side:
        return None
    top, left = ((side - length) // 2 for length in result.shape[1:])
    visible = levels[top : top + result.shape[1], left : left + result.shape[2]]
    table = np.full((3, 256), np.nan, np.float32)
    table[:, visible] = result
    return None if np.isnan(table).any() else table
