"""Crops at native resolution: encode windows of the image instead of a resized image.

Resizing an image to the encoder's input loses detail of a few pixels, where many generators leave
their traces. Here the encoder gets unresized windows of its input size: the four corners and the
center. The feature of a block is the mean over windows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from whichgen.encoders.base import Encoder
from whichgen.errors import EncoderError

#: Maximum number of windows per image.
WINDOWS = 5


def use_native_crops(encoder: Encoder) -> Encoder:
    """Return an encoder of the same blocks that averages over windows of the image.

    A preprocessed image is an array (5, …), with NaN in place of duplicate windows, which are
    encoded once. An image smaller than a window is padded by reflection.

    Raises
    ------
    EncoderError
        The encoder resamples images of any size.
    """
    side = encoder.native_side
    if not side:
        raise EncoderError(f"{encoder.name} has no native input size. Remove :crops from its name.")

    def preprocess(image: Image.Image) -> np.ndarray:
        windows = cut_windows(np.asarray(image), side)
        pixels = np.stack([encoder.preprocess(Image.fromarray(window)) for window in windows])
        missing = np.full((WINDOWS - len(pixels), *pixels.shape[1:]), np.nan, dtype=np.float32)
        return np.concatenate([pixels, missing])

    def encode(pixels: np.ndarray) -> list[np.ndarray]:
        present = ~np.isnan(pixels.reshape(*pixels.shape[:2], -1)[..., 0])
        ends = np.cumsum(present.sum(axis=1))[:-1]
        blocks = encoder.encode(pixels[present])
        return [np.stack([rows.mean(axis=0) for rows in np.split(block, ends)]) for block in blocks]

    return replace(
        encoder,
        name=f"{encoder.name}:crops",
        preprocessing={**encoder.preprocessing, "crops": {"windows": WINDOWS, "side": side}},
        preprocess=preprocess,
        encode=encode,
    )


def cut_windows(pixels: np.ndarray, side: int) -> list[np.ndarray]:
    """Cut distinct windows (side, side, 3) from an image (h, w, 3), padded if it is smaller."""
    padding = [(0, max(0, side - length)) for length in pixels.shape[:2]]
    pixels = np.pad(pixels, (*padding, (0, 0)), mode="symmetric")
    positions = window_positions(pixels.shape, side)
    return [pixels[y : y + side, x : x + side] for y, x in positions]


def window_positions(shape: tuple[int, ...], side: int) -> list[tuple[int, int]]:
    """Return the distinct upper left corners (y, x) of windows at the corners and the center.

    ``shape`` is that of the image, (h, w, …).
    """
    bottom, right = (max(0, length - side) for length in shape[:2])
    center = bottom // 2, right // 2
    return list(dict.fromkeys([(0, 0), (0, right), (bottom, 0), (bottom, right), center]))
