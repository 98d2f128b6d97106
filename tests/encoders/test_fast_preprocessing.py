"""Preprocessing is bitwise identical to that of transformers' processors."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from whichgen.encoders.fast_preprocessing import make_preprocess


def _clip(**options: Any) -> Any:
    size = {"shortest_edge": 32}
    crop_size = {"height": 32, "width": 32}
    return transformers.CLIPImageProcessorPil(**{"size": size, "crop_size": crop_size, **options})


class RelativeProcessor(transformers.CLIPImageProcessorPil):
    """A processor whose result depends on the whole image."""

    def normalize(self, image: np.ndarray, *args: Any, **options: Any) -> Any:
        return image - image.mean()


class RotatingProcessor(transformers.CLIPImageProcessorPil):
    """A processor that crops in its own way."""

    def center_crop(self, image: np.ndarray, *args: Any, **options: Any) -> Any:
        return super().center_crop(image, *args, **options)[:, ::-1]


FAST = {
    "clip": _clip(),
    "clip, bilinear": _clip(resample=2),
    "clip, square": _clip(size={"height": 40, "width": 36}),
    "clip, not normalized": _clip(do_normalize=False),
    "dinov2": transformers.BitImageProcessorPil(
        size={"shortest_edge": 37}, crop_size={"height": 32, "width": 32}
    ),
    "siglip": transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32}),
    "vit": transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}),
}
SLOW = {
    "not resized": _clip(do_resize=False),
    "longest edge": _clip(size={"shortest_edge": 32, "longest_edge": 64}),
    "maximum sides": _clip(size={"max_height": 32, "max_width": 32}),
    "relative": RelativeProcessor(),
    "own crop": RotatingProcessor(),
}
PREPROCESS = {name: make_preprocess(processor) for name, processor in (FAST | SLOW).items()}


@pytest.mark.parametrize("name", FAST)
@settings(max_examples=25)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_pixels_are_bitwise_those_of_the_processor(
    name: str, width: int, height: int, seed: int
) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    expected = FAST[name](image, return_tensors="np")["pixel_values"][0]
    pixels = PREPROCESS[name](image)
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels, np.asarray(expected, np.float32))


@pytest.mark.parametrize("name", PREPROCESS)
def test_unusual_processors_are_called_themselves(name: str) -> None:
    variables = inspect.getclosurevars(PREPROCESS[name]).nonlocals
    assert ("processor" in variables) == (name in SLOW)
