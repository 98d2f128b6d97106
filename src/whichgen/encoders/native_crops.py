"""Crops at native resolution: encode windows of the image instead of a resized image.

Resizing an image to the encoder's input size removes fine detail, which contains the artifacts of
many generators. With crops, the encoder instead processes up to five square windows of the original
image, at the corners and the center. Their side is :attr:`Encoder.native_side`, so that the
encoder's preprocessing does not resize them. The features of each block are averaged over the
windows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from PIL import Image

from whichgen.encoders.encoder import Encoder
from whichgen.errors import EncoderError

#: Maximum number of windows per image.
WINDOWS = 5


def use_native_crops(encoder: Encoder) -> Encoder:
    """Return an encoder that averages the features of each block over windows of the image.

    If the height or width of an image is less than the side of a window, the image is padded at the
    bottom or right by mirroring it (mode ``symmetric`` of :func:`numpy.pad`).

    Parameters
    ----------
    encoder
        The encoder. The side of a window is its :attr:`Encoder.native_side`.

    Returns
    -------
    Encoder
        Its ``preprocess`` function returns a float32 array (5, …) with one row per window. If
        some of the five windows coincide, they are preprocessed once, and the remaining rows are
        NaN; its ``encode`` function ignores these rows.

    Raises
    ------
    EncoderError
        The native side of the encoder is unknown.
    """
    side = encoder.native_side
    if not side:
        raise EncoderError(
            f"the native input size of encoder {encoder.name} is unknown. Remove :crops from the "
            "name of the encoder."
        )

    def preprocess(image: Image.Image) -> np.ndarray:
        windows = cut_windows(pad_image(np.asarray(image), side, "symmetric"), side)
        pixels = np.stack([encoder.preprocess(Image.fromarray(window)) for window in windows])
        padding = np.full((WINDOWS - len(pixels), *pixels.shape[1:]), np.nan, dtype=np.float32)
        return np.concatenate([pixels, padding])

    def encode(pixels: np.ndarray) -> list[np.ndarray]:
        is_window = ~np.isnan(pixels.reshape(*pixels.shape[:2], -1)[..., 0])
        ends = np.cumsum(is_window.sum(axis=1))[:-1]
        blocks = encoder.encode(pixels[is_window])
        return [np.stack([rows.mean(axis=0) for rows in np.split(block, ends)]) for block in blocks]

    return replace(
        encoder,
        name=f"{encoder.name}:crops",
        preprocessing={**encoder.preprocessing, "crops": {"windows": WINDOWS, "side": side}},
        preprocess=preprocess,
        encode=encode,
    )


def pad_image(
    pixels: np.ndarray, side: int, mode: Literal["edge", "reflect", "symmetric"]
) -> np.ndarray:
    """Pad an image at the bottom and right, so that no side is shorter than ``side``.

    Parameters
    ----------
    pixels
        The image: uint8 array (h, w, 3).
    side
        Minimum height and width, in pixels.
    mode
        Padding mode of :func:`numpy.pad`.

    Returns
    -------
    uint8 array (max(h, side), max(w, side), 3)
        The padded image.
    """
    bottom, right = (max(0, side - length) for length in pixels.shape[:2])
    return np.pad(pixels, ((0, bottom), (0, right), (0, 0)), mode)


def cut_windows(pixels: np.ndarray, side: int) -> list[np.ndarray]:
    """Cut windows from the corners and the center of an image.

    Parameters
    ----------
    pixels
        The image: uint8 array (h, w, 3).
    side
        Height and width of a window, in pixels.

    Returns
    -------
    list of at most five uint8 arrays (side, side, 3)
        The windows at the top left, top right, bottom left and bottom right, and in the center.
        Windows that coincide are returned once. If the height or width of the image is less than
        ``side``, the windows have this height or width instead.
    """
    bottom, right = (max(0, length - side) for length in pixels.shape[:2])
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    positions = dict.fromkeys([*corners, (bottom // 2, right // 2)])
    return [pixels[y : y + side, x : x + side] for y, x in positions]
