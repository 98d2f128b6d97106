"""Traces: how neighboring pixels go together once the picture is filtered away. No network.

A generator's last layers, and a camera's sensor and software, leave their mark in the finest
pixel-to-pixel dependencies, which an encoder's resized view loses. They are counted here as in
steganalysis (SPAM: Pevný, Bas & Fridrich, 2010; rich models: Fridrich & Kodovský, 2012; for GAN
images Nataraj et al., 2019). A high-pass filter gives a residual r, of which three neighbors in a
row are counted together::

    z = clip(round(r / q), −2, 2),    h(a, b, c) = share of places with (z₁, z₂, z₃) = (a, b, c)

of four channels (luma, green, red − green, blue − green), four filters (first, second and third
difference, and the 3 × 3 kernel of Ker & Böhme) and two steps q, along rows and columns alike. A
picture's mirror image and its negative leave the same traces, so counts that these exchange are
added up: of 125 remain 39. The square root (Hellinger's) makes rare patterns count.

A block holds what one channel (blocks 0–3) or one filter (blocks 4–7) says; each has a vote of its
own. Pixels are read at native resolution: nothing is resized.
"""

from __future__ import annotations

from functools import cache
from math import ceil

import numpy as np
from PIL import Image

from whichgen.encoders.base import Encoder
from whichgen.encoders.names import TRACES
from whichgen.io.run_metadata import hash_parts

CHANNELS = ("luma", "green", "red − green", "blue − green")

#: The filters with their two quantization steps.
FILTERS: dict[str, tuple[float, float]] = {
    "first difference": (1, 2),
    "second difference": (2, 3),
    "third difference": (3, 6),
    "Ker–Böhme": (1, 2),
}

#: An image with a longer side is read in windows: its corners and its center.
_LONGEST = 512
_WINDOW = 256

#: Smaller images are continued by repeating their edge.
_SMALLEST = 8

_LEVELS = 5
_VERSION = "1"


def load_traces(*, device: str, dtype: str) -> Encoder:
    """The traces as an encoder of eight blocks of 312 values.

    ``device`` and ``dtype`` are recorded and make no difference: counting is done on the CPU, in
    whole numbers.
    """
    settings = {
        "version": _VERSION,
        "channels": list(CHANNELS),
        "filters": {name: list(steps) for name, steps in FILTERS.items()},
        "longest": _LONGEST,
        "window": _WINDOW,
    }
    by_channel = len(FILTERS) * 2 * _orbits().shape[1]
    by_filter = len(CHANNELS) * 2 * _orbits().shape[1]
    blocks = len(CHANNELS) + len(FILTERS)
    return Encoder(
        name=TRACES,
        weights_hash=hash_parts([TRACES, repr(settings)]),
        preprocessing=settings,
        preprocess=traces,
        encode=_arrange,
        block_dims=(by_channel,) * len(CHANNELS) + (by_filter,) * len(FILTERS),
        device=device,
        dtype=dtype,
        votes=(tuple((block,) for block in range(blocks)),),
    )


def traces(image: Image.Image) -> np.ndarray:
    """An RGB image → float32 array (4 channels, 4 filters, 2 steps, 39); squares sum to 1."""
    counts = sum(_counts(window) for window in _windows(np.asarray(image)))
    shares = counts @ _orbits()
    return np.asarray(np.sqrt(shares / shares.sum(axis=-1, keepdims=True)), dtype=np.float32)


def _arrange(found: np.ndarray) -> list[np.ndarray]:
    """Arrays (n, 4, 4, 2, 39) → the blocks: each channel, then each filter."""
    by_channel = [found[:, c].reshape(len(found), -1) for c in range(len(CHANNELS))]
    by_filter = [found[:, :, f].reshape(len(found), -1) for f in range(len(FILTERS))]
    return by_channel + by_filter


def _windows(pixels: np.ndarray) -> list[np.ndarray]:
    height, width = pixels.shape[:2]
    missing = [(0, max(0, _SMALLEST - side)) for side in (height, width)]
    if any(after for _, after in missing):
        return _windows(np.pad(pixels, (*missing, (0, 0)), mode="edge"))
    if max(height, width) <= _LONGEST:
        return [pixels]
    low, right = max(0, height - _WINDOW), max(0, width - _WINDOW)
    places = {(0, 0), (0, right), (low, 0), (low, right), (low // 2, right // 2)}
    return [pixels[y : y + _WINDOW, x : x + _WINDOW] for y, x in sorted(places)]


def _counts(pixels: np.ndarray) -> np.ndarray:
    """Counts of one window: float64 array (4 channels, 4 filters, 2 steps, 125)."""
    # Whole numbers: luma in thousandths, so that no rounding depends on the order of its sum. A
    # residual of the others is at most 16 · 255: half the bytes are half the time.
    red, green, blue = (pixels[..., c].astype(np.int16) for c in range(3))
    luma = 299 * red.astype(np.int32) + 587 * green.astype(np.int32) + 114 * blue.astype(np.int32)
    channels = ((luma, 1000), (green, 1), (red - green, 1), (blue - green, 1))
    return np.stack([[_of_filter(c, name, unit) for name in FILTERS] for c, unit in channels])


def _of_filter(channel: np.ndarray, name: str, unit: int) -> np.ndarray:
    """Counts of one filter's residuals at its two steps: float64 array (2, 125).

    ``unit`` is what one gray level is in the channel.
    """
    order = list(FILTERS).index(name) + 1
    if order <= 3:
        residuals = [np.diff(channel, order, axis=axis) for axis in (0, 1)]
        divisor = 1
    else:
        second = channel[:-2] - 2 * channel[1:-1] + channel[2:]
        residuals = [-(second[:, :-2] - 2 * second[:, 1:-1] + second[:, 2:])]
        divisor = 4
    found = np.zeros((2, _LEVELS**3))
    five = np.uint8(_LEVELS)
    for s, step in enumerate(FILTERS[name]):
        for residual in residuals:
            z = _quantized(residual, unit * step * divisor)
            down = ((z[:-2] * five + z[1:-1]) * five) + z[2:]
            right = ((z[:, :-2] * five + z[:, 1:-1]) * five) + z[:, 2:]
            for triples in (down, right):
                # Pillow counts bytes as they are; numpy's bincount makes eight of each first.
                found[s] += Image.fromarray(triples).histogram()[: _LEVELS**3]
    return found


def _quantized(residual: np.ndarray, step: float) -> np.ndarray:
    """``clip(round(r / step), −2, 2) + 2`` as uint8, halves away from zero."""
    # Four comparisons are several times as fast as a division, and whole numbers have no ties
    # that depend on rounding.
    half, far = ceil(step / 2), ceil(1.5 * step)
    levels = (residual >= half).view(np.uint8)
    levels += residual >= far
    levels -= residual <= -half
    levels -= residual <= -far
    levels += np.uint8(2)
    return levels


@cache
def _orbits() -> np.ndarray:
    """Which of the 125 counts are added up: float64 array (125, 39) of zeros and ones."""
    index = np.arange(_LEVELS**3).reshape((_LEVELS,) * 3)
    mirrored, negative = index.transpose(2, 1, 0), index[::-1, ::-1, ::-1]
    both = negative.transpose(2, 1, 0)
    first = np.minimum.reduce([index, mirrored, negative, both]).ravel()
    return np.asarray(first[:, None] == np.unique(first), dtype=np.float64)
