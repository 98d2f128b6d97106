"""Explain an answer by occlusion: cover each patch in turn (Zeiler & Fergus, 2014).

With the log-odds f(x) = log p_y(x) − log (1 − p_y(x)) of the most probable origin y of the whole
image, and x without patch i, which is blurred beyond recognition, the support of the patch is ::

    s_i = f(x) − f(x without i)

s_i > 0: the patch supports the origin. Occlusion works for every encoder and head, including
residual statistics (``traces``), where attention roll-out ignores the head and gradients require a
network. The result is not a map of manipulated regions: it shows the basis of *this* answer, right
or wrong; patches with the same evidence can replace each other; and the blur is evidence, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from whichgen.constants import BATCH_SIZE
from whichgen.errors import ImageError
from whichgen.inference.attributor import Attributor

# Probabilities are clipped to [_EPSILON, 1 - _EPSILON] so that the log-odds are finite.
_EPSILON = 1e-12


@dataclass(frozen=True)
class Heatmap:
    """The basis of an answer.

    Parameters
    ----------
    origin
        The most probable known origin of the whole image.
    support
        How much each patch supports it, in nats: float64 array (rows, columns) from the top left.
    """

    origin: str
    support: np.ndarray


def explain(
    attributor: Attributor, image: Image.Image, *, grid: int = 7, batch_size: int = BATCH_SIZE
) -> Heatmap:
    """Compute the support of each of ``grid`` × ``grid`` patches of an RGB image.

    Raises
    ------
    ImageError
        The image has fewer pixels per side than patches.
    """
    width, height = image.size
    if min(width, height) < grid:
        raise ImageError(
            f"{width} × {height} pixels are too few for {grid} × {grid} patches. Give a larger "
            "image or a smaller grid."
        )
    side = max(1, min(image.size) // grid)
    blurred = image.filter(ImageFilter.GaussianBlur(side))
    masks = (_patch_mask(image.size, i, j, grid, side) for i in range(grid) for j in range(grid))
    occluded_images = [Image.composite(blurred, image, mask) for mask in masks]
    answers = attributor.attribute([image, *occluded_images], batch_size=batch_size)
    probabilities = answers[0].probabilities
    origin = max(probabilities, key=lambda name: probabilities[name])
    p = np.clip([answer.probabilities[origin] for answer in answers], _EPSILON, 1 - _EPSILON)
    log_odds = np.log(p) - np.log1p(-p)
    return Heatmap(origin, (log_odds[0] - log_odds[1:]).reshape(grid, grid))


def _patch_mask(size: tuple[int, int], row: int, column: int, grid: int, side: int) -> Image.Image:
    """Return the mask of one patch, with soft edges if the patch is large enough."""
    width, height = size
    left, right = column * width // grid, (column + 1) * width // grid
    top, bottom = row * height // grid, (row + 1) * height // grid
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rectangle((left, top, right - 1, bottom - 1), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(side / 16)) if side >= 8 else mask
