"""Support of patches for an answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from whichgen.errors import ImageError
from whichgen.inference.attribution import Attribution
from whichgen.inference.occlusion import explain


class OnePatch:
    """Attributor whose answer depends only on the grain of one patch of an 8 × 8 grid."""

    def __init__(self, row: int, column: int) -> None:
        self.row, self.column = row, column

    def attribute(self, images: list[Image.Image], **_: Any) -> list[Attribution]:
        answers = []
        for image in images:
            side = image.width // 8
            grain = np.asarray(image.convert("L"), np.float64)[
                self.row * side : (self.row + 1) * side,
                self.column * side : (self.column + 1) * side,
            ].std()
            p = 1 / (1 + np.exp(4 - grain / 10))
            answers.append(Attribution("x", "gan", {"gan": p, "real": 1 - p}, p, 0.5))
        return answers


@pytest.fixture
def grainy() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 6), (7, 1)])
def test_deciding_patch_has_the_highest_support(grainy: Image.Image, row: int, column: int) -> None:
    heatmap: Any = explain(OnePatch(row, column), grainy, grid=8)  # type: ignore[arg-type]
    assert heatmap.origin == "gan"
    assert heatmap.support.shape == (8, 8)
    assert np.unravel_index(heatmap.support.argmax(), (8, 8)) == (row, column)
    others = np.delete(heatmap.support.ravel(), 8 * row + column)
    assert heatmap.support.max() > 5 * np.abs(others).max()


def test_support_is_the_difference_of_log_odds(grainy: Image.Image) -> None:
    attributor: Any = OnePatch(2, 2)
    heatmap = explain(attributor, grainy, grid=8)
    whole, covered = (
        attributor.attribute([image])[0].probabilities["gan"]
        for image in (grainy, Image.new("RGB", (128, 128), "gray"))
    )
    difference = np.log(whole / (1 - whole)) - np.log(covered / (1 - covered))
    assert 0.8 * difference < heatmap.support[2, 2] <= difference + 1e-9


def test_image_smaller_than_the_grid_is_an_error() -> None:
    with pytest.raises(ImageError, match="6 × 50 pixels are too few"):
        explain(OnePatch(0, 0), Image.new("RGB", (6, 50)))  # type: ignore[arg-type]
