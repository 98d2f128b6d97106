"""Residual statistics (``traces``): co-occurrence histograms of high-pass residuals.

The last layers of a generator, and the sensor and software of a camera, affect the dependencies
between neighboring pixels, which are lost when an image is resized to the input of a network. As in
steganalysis (SPAM: Pevný, Bas & Fridrich, 2010; rich models: Fridrich & Kodovský, 2012) and in the
detection of GAN images (Nataraj et al., 2019), a high-pass filter computes a residual r, and
triples of adjacent quantized residuals are counted::

    z = clip(round(r / q), −2, 2),    h(a, b, c) = fraction of triples (z₁, z₂, z₃) = (a, b, c)

for four channels (luma, green, red − green, blue − green), four filters (first, second and third
difference, and the 3 × 3 kernel of Ker & Böhme) and two quantization steps q, along rows and
columns. Mirroring an image or inverting its pixel values does not change its origin, so the counts
of triples that are equal up to these two operations are added, which reduces 125 counts to 39.
Taking the square root of each fraction (Hellinger mapping) increases the weight of rare triples.

Each block contains the statistics of one channel (blocks 0–3) or one filter (blocks 4–7) and forms
its own block group. Pixels are read at native resolution, and no network is used.

The variant ``traces:half`` contains the statistics of the image scaled by ½, which describe
dependencies between pixels at twice the distance. It has only the blocks of the four channels,
because the blocks of the filters would repeat the same numbers.
"""

from __future__ import annotations

from functools import cache
from math import ceil

import numpy as np
from PIL import Image

from whichgen.encoders.encoder import Encoder
from whichgen.encoders.encoder_names import HALF, TRACES
from whichgen.encoders.native_crops import cut_windows, pad_image
from whichgen.io.run_metadata import hash_parts

#: Names of the channels, in the order of their blocks.
CHANNELS = ("luma", "green", "red − green", "blue − green")

#: The filters, in the order of their blocks, and their two quantization steps q in gray levels.
FILTERS: dict[str, tuple[float, float]] = {
    "first difference": (1, 2),
    "second difference": (2, 3),
    "third difference": (3, 6),
    "Ker–Böhme": (1, 2),
}

#: Maximum side, in pixels, of an image that is used completely. Of a larger image, only windows at
#: the corners and the center are used.
_LONGEST = 512

#: Side of a window, in pixels.
_WINDOW = 256

#: Minimum side of an image, in pixels. A smaller image is padded by repeating its edge pixels.
_SMALLEST = 8

#: Number of values of a quantized residual: −2 to 2.
_LEVELS = 5


def load_residual_statistics(*, device: str, dtype: str, half: bool = False) -> Encoder:
    """Create an encoder that computes residual statistics: 8 blocks of 312 features.

    If ``half`` is true, the image is scaled by ½, and only the 4 blocks of channels are returned.
    ``device`` and ``dtype`` only set the attributes of the encoder: the triples are always counted
    on the CPU with integers, and the features are float32.
    """
    settings = {
        "version": "1",
        "channels": list(CHANNELS),
        "filters": {name: list(steps) for name, steps in FILTERS.items()},
        "longest": _LONGEST,
        "window": _WINDOW,
    }
    name, preprocess, encode = TRACES, compute_statistics, _split_blocks
    if half:
        name, preprocess, encode = f"{TRACES}:{HALF}", compute_half_statistics, _split_channels
        settings["scale"] = "1/2, box filter"
    blank = preprocess(Image.new("RGB", (_SMALLEST, _SMALLEST)))
    block_dims = tuple(block.shape[1] for block in encode(blank[None]))
    return Encoder(
        name=name,
        weights_hash=hash_parts([name, repr(settings)]),
        preprocessing=settings,
        preprocess=preprocess,
        encode=encode,
        block_dims=block_dims,
        device=device,
        dtype=dtype,
        block_groups=(tuple((block,) for block in range(len(block_dims))),),
    )


def compute_statistics(image: Image.Image) -> np.ndarray:
    """Compute the statistics of an RGB image: float32 array (4 channels, 4 filters, 2 steps, 39).

    Each vector along the last axis has unit L2 norm. If a side of the image is longer than 512
    pixels, only windows of at most 256 × 256 pixels at the corners and the center are used. A side
    shorter than 8 pixels is padded.
    """
    pixels = pad_image(np.asarray(image), _SMALLEST, "edge")
    windows = [pixels] if max(image.size) <= _LONGEST else cut_windows(pixels, _WINDOW)
    counts = sum(map(_count_triples, windows)) @ _build_class_matrix()
    return np.asarray(np.sqrt(counts / counts.sum(axis=-1, keepdims=True)), dtype=np.float32)


def compute_half_statistics(image: Image.Image) -> np.ndarray:
    """Compute the statistics (:func:`compute_statistics`) of an RGB image scaled by ½.

    A box filter is used, and each side of the scaled image has at least 8 pixels. The result is a
    float32 array (4, 4, 2, 39).
    """
    width, height = (max(_SMALLEST, side // 2) for side in image.size)
    return compute_statistics(image.resize((width, height), Image.Resampling.BOX))


def _split_blocks(statistics: np.ndarray) -> list[np.ndarray]:
    """Split statistics (n, 4, 4, 2, 39) into blocks (n, 312): four channels, then four filters."""
    n = len(statistics)
    by_filter = [statistics[:, :, f].reshape(n, -1) for f in range(len(FILTERS))]
    return _split_channels(statistics) + by_filter


def _split_channels(statistics: np.ndarray) -> list[np.ndarray]:
    """Split statistics (n, 4, 4, 2, 39) into one block (n, 312) per channel."""
    return [statistics[:, c].reshape(len(statistics), -1) for c in range(len(CHANNELS))]


def _count_triples(pixels: np.ndarray) -> np.ndarray:
    """Count the triples of residuals in a window: float64 array (4 channels, 4 filters, 2, 125).

    ``pixels`` is a uint8 array (h, w, 3). The third axis contains the two quantization steps.
    """
    # Integers, with luma in thousandths, prevent rounding errors that depend on the order of a sum.
    # The residuals of the other channels are at most 16 · 255, which fits int16.
    red, green, blue = (pixels[..., c].astype(np.int16) for c in range(3))
    luma = 299 * red.astype(np.int32) + 587 * green.astype(np.int32) + 114 * blue.astype(np.int32)
    channels = ((luma, 1000), (green, 1), (red - green, 1), (blue - green, 1))
    return np.stack([[_count_filter(c, name, unit) for name in FILTERS] for c, unit in channels])


def _count_filter(channel: np.ndarray, name: str, unit: int) -> np.ndarray:
    """Count the triples of one filter's residuals for both steps q: float64 array (2, 125).

    ``channel`` is an integer array (h, w), ``name`` is a key of :data:`FILTERS`, and ``unit`` is
    the difference between adjacent gray levels in the channel.
    """
    order = list(FILTERS).index(name) + 1
    if order <= 3:
        residuals = [np.diff(channel, order, axis=axis) for axis in (0, 1)]
        divisor = 1
    else:
        second = channel[:-2] - 2 * channel[1:-1] + channel[2:]
        residuals = [-(second[:, :-2] - 2 * second[:, 1:-1] + second[:, 2:])]
        divisor = 4
    counts = np.zeros((2, _LEVELS**3))
    base = np.uint8(_LEVELS)
    for s, step in enumerate(FILTERS[name]):
        for residual in residuals:
            z = _quantize(residual, unit * step * divisor)
            down = ((z[:-2] * base + z[1:-1]) * base) + z[2:]
            right = ((z[:, :-2] * base + z[:, 1:-1]) * base) + z[:, 2:]
            for triples in (down, right):
                # Pillow counts bytes directly; np.bincount would convert them to int64.
                counts[s] += Image.fromarray(triples).histogram()[: _LEVELS**3]
    return counts


def _quantize(residual: np.ndarray, step: float) -> np.ndarray:
    """Return ``clip(round(residual / step), −2, 2) + 2`` as uint8; halves round away from zero."""
    # Four comparisons are several times faster than a division.
    half, far = ceil(step / 2), ceil(1.5 * step)
    levels = (residual >= half).view(np.uint8)
    levels += residual >= far
    levels -= residual <= -half
    levels -= residual <= -far
    levels += np.uint8(2)
    return levels


@cache
def _build_class_matrix() -> np.ndarray:
    """Return a matrix that adds the counts of triples that are equal up to mirroring and inversion.

    The matrix is a float64 array (125, 39) of zeros and ones, with one row per triple and one
    column per class of equal triples.
    """
    index = np.arange(_LEVELS**3).reshape((_LEVELS,) * 3)
    mirrored, negative = index.transpose(2, 1, 0), index[::-1, ::-1, ::-1]
    both = negative.transpose(2, 1, 0)
    first = np.minimum.reduce([index, mirrored, negative, both]).ravel()
    return np.asarray(first[:, None] == np.unique(first), dtype=np.float64)
