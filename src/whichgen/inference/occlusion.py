"""Explain an attribution by occlusion: blur one patch at a time (Zeiler & Fergus, 2014).

Let y be the most probable known origin of the image x, p_y(x) its probability, and x_i the image
with patch i blurred. The support of patch i for y is the decrease of the log-odds of y caused by
the blur::

    f(x) = log p_y(x) − log (1 − p_y(x)),    s_i = f(x) − f(x_i)

If s_i > 0, the patch supports y. Unlike the alternatives, occlusion works for every encoder and
head: attention rollout ignores the head, and gradients are not available for residual statistics
(the encoder ``traces``).

The heatmap explains the prediction, whether correct or not; it does not show manipulated regions.
A patch can have low support because other patches contain the same evidence, and the blur itself
can change the prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from whichgen.defaults import BATCH_SIZE
from whichgen.errors import ImageError
from whichgen.inference.attributor import Attributor

#: Default number of patches per side.
GRID = 7

# Probabilities are clipped to [_EPSILON, 1 - _EPSILON] so that the log-odds are finite.
_EPSILON = 1e-12


@dataclass(frozen=True)
class Heatmap:
    """Support of each patch of an image for its most probable known origin.

    Parameters
    ----------
    origin
        The most probable known origin of the image, even if the image is rejected as ``unknown``.
    support
        Support of each patch, in nats: float64 array (grid, grid), where grid is the number of
        patches per side. Row 0 is the top of the image, and column 0 is its left side.
    """

    origin: str
    support: np.ndarray


def explain(
    attributor: Attributor, image: Image.Image, *, grid: int = GRID, batch_size: int = BATCH_SIZE
) -> Heatmap:
    """Compute the support of each patch of an image for its most probable known origin.

    Parameters
    ----------
    attributor
        The model and its encoder.
    image
        RGB image.
    grid
        Number of patches per side, at least 1.
    batch_size
        Maximum number of images per forward pass.

    Returns
    -------
    Heatmap
        The origin, and the support of each patch for it.

    Raises
    ------
    ImageError
        A side of the image has fewer pixels than ``grid``.
    EncoderError, ModelFileError, RuntimeError
        See :meth:`whichgen.inference.attributor.Attributor.attribute`.

    Warns
    -----
    WhichgenWarning
        Memory is insufficient for a batch; the batch size is halved.
    """
    width, height = image.size
    if min(width, height) < grid:
        raise ImageError(
            f"{width} × {height} pixels are too few for {grid} × {grid} patches. Use a larger "
            "image or a smaller grid."
        )
    side = min(image.size) // grid
    blurred_image = image.filter(ImageFilter.GaussianBlur(side))
    masks = (
        _draw_patch_mask(image.size, i, j, grid, side) for i in range(grid) for j in range(grid)
    )
    occluded_images = [Image.composite(blurred_image, image, mask) for mask in masks]
    answers = attributor.attribute([image, *occluded_images], batch_size=batch_size)
    probabilities = answers[0].probabilities
    origin = max(probabilities, key=lambda name: probabilities[name])
    p = np.clip([answer.probabilities[origin] for answer in answers], _EPSILON, 1 - _EPSILON)
    log_odds = np.log(p) - np.log1p(-p)
    return Heatmap(origin, (log_odds[0] - log_odds[1:]).reshape(grid, grid))


def _draw_patch_mask(
    size: tuple[int, int], row: int, column: int, grid: int, side: int
) -> Image.Image:
    """Return the mask of one patch: 255 inside, 0 outside.

    The edges are soft if ``side``, the approximate side of a patch in pixels, is at least 8.
    """
    width, height = size
    left, right = column * width // grid, (column + 1) * width // grid
    top, bottom = row * height // grid, (row + 1) * height // grid
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rectangle((left, top, right - 1, bottom - 1), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(side / 16)) if side >= 8 else mask
