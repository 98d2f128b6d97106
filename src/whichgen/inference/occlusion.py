"""Which patches an answer rests on: cover each in turn, and ask again (Zeiler & Fergus, 2014).

With the log-odds f(x) = log p_y(x) − log (1 − p_y(x)) of the origin y that the whole image is most
probably of, and x without its patch i, which is blurred until no detail is left::

    s_i = f(x) − f(x without i)

s_i > 0: the patch speaks for the origin. It asks the head itself and works for every encoder,
traces too, where attention roll-out knows nothing of the head and a gradient needs a network. It is
not a map of what is fake: it shows where *this* answer came from, be that right or wrong; patches
that carry the same evidence stand in for each other; and what covers a patch is evidence, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from whichgen.errors import ImageError
from whichgen.inference.attributor import Attributor

#: The least of a probability, and of what it lacks to 1, that counts: every difference is finite.
_LEAST = 1e-12


@dataclass(frozen=True)
class Heatmap:
    """Where an answer came from.

    Parameters
    ----------
    origin
        The most probable known origin of the whole image.
    support
        How much each patch speaks for it, in nats: float64 array (rows, columns) from the top left.
    """

    origin: str
    support: np.ndarray


def explain(
    attributor: Attributor, image: Image.Image, *, grid: int = 7, batch_size: int = 32
) -> Heatmap:
    """The support of each of ``grid`` × ``grid`` patches of an RGB image.

    Raises
    ------
    ImageError
        The image has fewer pixels a side than patches.
    """
    width, height = image.size
    if min(width, height) < grid:
        raise ImageError(f"{width} × {height} pixels are too few for {grid} × {grid} patches")
    blurred = image.filter(ImageFilter.GaussianBlur(_patch_side(image, grid)))
    places = [(i, j) for i in range(grid) for j in range(grid)]
    prediction_set = [image, *(_without(image, blurred, i, j, grid) for i, j in places)]
    answers = attributor.attribute(prediction_set, batch_size=batch_size)
    failed = [answer.error for answer in answers if answer.error]
    if failed:
        raise ImageError(failed[0])
    whole = answers[0].probabilities
    origin = max(whole, key=lambda name: whole[name])
    p = np.clip([answer.probabilities[origin] for answer in answers], _LEAST, 1 - _LEAST)
    said = np.log(p) - np.log1p(-p)
    return Heatmap(origin, (said[0] - said[1:]).reshape(grid, grid))


def _patch_side(image: Image.Image, grid: int) -> int:
    return max(1, min(image.size) // grid)


def _without(
    image: Image.Image, blurred: Image.Image, row: int, column: int, grid: int
) -> Image.Image:
    """The image with one patch of the blurred one; soft edges, where there are pixels enough."""
    width, height = image.size
    box = (
        column * width // grid,
        row * height // grid,
        (column + 1) * width // grid,
        (row + 1) * height // grid,
    )
    side = _patch_side(image, grid)
    mask = Image.new("L", image.size, 0)
    ImageDraw.Draw(mask).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=255)
    if side >= 8:
        mask = mask.filter(ImageFilter.GaussianBlur(side / 16))
    return Image.composite(blurred, image, mask)
