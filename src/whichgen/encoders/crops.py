"""Crops at native resolution: an encoder looks at pieces of the image, and nothing is resized.

Squashing an image to the encoder's input loses what is finer than a few pixels, and that is where
many a generator leaves its traces. Here the encoder sees windows of the size that it takes as they
are: the four corners and the center, in which a smaller image has one place. A block's feature is
the mean over windows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from whichgen.encoders.base import Encoder
from whichgen.errors import EncoderError

#: The windows of a large image.
WINDOWS = 5


def native_crops(encoder: Encoder) -> Encoder:
    """The encoder on windows of an image, as an encoder of the same blocks.

    A preprocessed image is an array (5, …), NaN where windows coincide, which are encoded once. An
    image smaller than a window is continued by its mirror image.

    Raises
    ------
    EncoderError
        The encoder resamples images of any size.
    """
    side = encoder.native_side
    if not side:
        raise EncoderError(f"{encoder.name} has no native size, so that it can't look at crops.")

    def preprocess(image: Image.Image) -> np.ndarray:
        shown = windows(np.asarray(image), side).values()
        found = np.stack([encoder.preprocess(Image.fromarray(window)) for window in shown])
        absent = np.full((WINDOWS - len(found), *found.shape[1:]), np.nan, dtype=np.float32)
        return np.concatenate([found, absent])

    def encode(pixels: np.ndarray) -> list[np.ndarray]:
        there = ~np.isnan(pixels.reshape(*pixels.shape[:2], -1)[..., 0])
        ends = np.cumsum(there.sum(axis=1))[:-1]
        blocks = encoder.encode(pixels[there])
        return [np.stack([rows.mean(axis=0) for rows in np.split(block, ends)]) for block in blocks]

    return replace(
        encoder,
        name=f"{encoder.name}:crops",
        preprocessing={**encoder.preprocessing, "crops": {"windows": WINDOWS, "side": side}},
        preprocess=preprocess,
        encode=encode,
    )


def windows(pixels: np.ndarray, side: int) -> dict[tuple[int, int], np.ndarray]:
    """Windows (side, side, 3) of an image (h, w, 3), by the place of their upper left corner."""
    height, width = pixels.shape[:2]
    missing = [(0, max(0, side - length)) for length in (height, width)]
    pixels = np.pad(pixels, (*missing, (0, 0)), mode="symmetric")
    low, right = pixels.shape[0] - side, pixels.shape[1] - side
    places = [(0, 0), (0, right), (low, 0), (low, right), (low // 2, right // 2)]
    return {(y, x): pixels[y : y + side, x : x + side] for y, x in places}
