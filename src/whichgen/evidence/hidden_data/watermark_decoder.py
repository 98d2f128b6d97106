"""Decode the invisible watermark of the library ``invisible-watermark``, method ``dwtDct``.

The library writes one bit into each block of 8 × 8 pixels. It computes one level of the Haar
wavelet transform of the U channel. In each block of 4 × 4 approximation coefficients, it selects
the coefficient with the largest absolute value except the first coefficient, and changes the
remainder of this absolute value modulo the step to 1/4 (bit 0) or 3/4 (bit 1) of the step. The
sequence of bits repeats row by row. Each bit is decoded by a vote of its blocks (:data:`Rule`).

Source: https://github.com/ShieldMnt/invisible-watermark, ``maxDct.py`` (MIT license). With the rule
``library``, the bits decoded from 8-bit pixels equal those of the library, which needs OpenCV and
torch.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

#: Step of the quantization in units of the coefficients.
STEP = 36.0

#: Side of a block in pixels.
BLOCK = 8

#: Red, green and blue channel, each of shape (height, width).
Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]

#: Haar coefficients: floating-point array.
Coefficients = NDArray[np.float32] | NDArray[np.float64]

#: How blocks vote on a bit. ``library``: majority vote, as in the library. It often decodes zeros
#: as ones, because writing a 0 often lowers the largest coefficient, so that another one can become
#: the largest. ``share``: a bit is 1 if the fraction of its blocks that vote for 1 is above the
#: average over all bits, which corrects this bias. ``sine``: like ``share``, but coefficients near
#: the borders between 0 and 1 have less weight.
Rule = Literal["library", "share", "sine"]


def compute_u_channel(planes: Planes) -> NDArray[np.float64]:
    """Return the U channel of 8-bit pixels, rounded and shifted by 128 as in OpenCV.

    The result has the shape of each plane and integer values from 0 to 255.
    """
    red, green, blue = (plane.astype(np.int32) for plane in planes)
    luma = (4899 * red + 9617 * green + 1868 * blue + (1 << 13)) >> 14
    blue -= luma
    blue *= 8061
    blue += (128 << 14) + (1 << 13)
    blue >>= 14
    return np.clip(blue, 0, 255).astype(np.float64)


def transform_u(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Haar approximation coefficients of a U channel.

    The result has half the height and half the width of the channel, rounded down. The order of the
    operations is the same as in the library, because rounding errors decide the bits of flat areas.
    """
    height, width = u.shape[0] // 2 * 2, u.shape[1] // 2 * 2
    halves = 0.5**0.5 * u[:height]
    rows = halves[1::2] + halves[::2]
    rows *= 0.5**0.5
    return np.asarray(rows[:, 1:width:2] + rows[:, :width:2])


def transform_float(planes: Planes) -> NDArray[np.float32]:
    """Return the Haar approximation coefficients of the U channel without rounding the channel.

    Some programs watermark floating-point pixels before they are rounded to integers. The result
    has half the height and half the width of the planes, rounded down.
    """
    height, width = (size // 2 * 2 for size in planes[0].shape)
    sums = []
    for plane in planes:
        row_sums = plane[:height:2, :width].astype(np.uint16) + plane[1:height:2, :width]
        sums.append((row_sums[:, ::2] + row_sums[:, 1::2]).astype(np.float32))
    red, green, blue = sums
    luma = np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue
    # OpenCV adds 0.5 to the U channel of floating-point pixels; the Haar transform doubles it.
    return np.asarray(np.float32(0.246) * (blue - luma) + np.float32(1))


def read_blocks(haar: Coefficients) -> Coefficients:
    """Return the absolute value of the watermarked coefficient of each block, modulo :data:`STEP`.

    Parameters
    ----------
    haar
        Haar approximation coefficients of the U channel: array (height, width).

    Returns
    -------
    array of shape (height // 4, width // 4)
        One value per block, in [0, :data:`STEP`), of the floating-point dtype of ``haar``; the bit
        is 1 if the value is more than half of :data:`STEP`.
    """
    rows, columns = haar.shape[0] // 4, haar.shape[1] // 4
    blocks = haar[: 4 * rows, : 4 * columns].reshape(rows, 4, columns, 4)
    magnitudes = np.abs(blocks.transpose(0, 2, 1, 3).reshape(-1, 16)[:, 1:])
    return np.asarray(magnitudes.max(axis=1, initial=0) % STEP).reshape(rows, columns)


def decode_bits(
    blocks: Coefficients, length: int, width: int = 0, *, rule: Rule = "library"
) -> NDArray[np.bool_]:
    """Decode the bits of a watermark by a vote of the blocks of each bit.

    Parameters
    ----------
    blocks
        As returned by :func:`read_blocks`.
    length
        Number of bits of the watermark, at most the number of blocks.
    width
        Number of blocks per row of the original image; 0 if the image was not cropped.
    rule
        How blocks vote (see :data:`Rule`).

    Returns
    -------
    Boolean array of shape (length,)
        The bits. If the image was cropped, they are rotated, because the first block of the image
        can contain any bit of the watermark.
    """
    rows, columns = blocks.shape
    positions = np.arange(rows)[:, None] * (width or columns) + np.arange(columns)
    bit_indices = (positions % length).ravel()
    votes = -np.sin(2 * np.pi / STEP * blocks) if rule == "sine" else blocks > STEP / 2
    sums = np.bincount(bit_indices, votes.ravel(), length)
    counts = np.bincount(bit_indices, minlength=length)
    if rule == "library":
        return np.asarray(sums * 255 > 127 * counts)
    means = sums / np.maximum(counts, 1)
    return np.asarray(means > means.mean())
