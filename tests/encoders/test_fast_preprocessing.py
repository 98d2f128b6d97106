"""Fast preprocessing is bitwise that of the processor, or is not used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from whichgen.encoders.fast_preprocessing import speed_up

SMALL = {"shortest_edge": 32}
PROCESSORS = {
    "clip": lambda: transformers.CLIPImageProcessorPil(
        size=SMALL, crop_size={"height": 32, "width": 32}
    ),
    "dinov2": lambda: transformers.BitImageProcessorPil(
        size={"shortest_edge": 37}, crop_size={"height": 32, "width": 32}
    ),
    "siglip": lambda: transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32}),
    "vit": lambda: transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}),
}
SIDES = {"clip": 32, "dinov2": 37, "siglip": 32, "vit": 32}


def _own(processor: Any) -> Callable[[Image.Image], np.ndarray]:
    def processed(image: Image.Image) -> np.ndarray:
        found = processor(images=image, return_tensors="np")["pixel_values"][0]
        return np.asarray(found, dtype=np.float32)

    return processed


WAYS = {
    name: (own := _own(processor := make()), speed_up(own, processor.to_dict(), SIDES[name]))
    for name, make in PROCESSORS.items()
}


@pytest.mark.parametrize("name", PROCESSORS)
@settings(max_examples=25)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_pixels_are_bitwise_those_of_the_processor(
    name: str, width: int, height: int, seed: int
) -> None:
    own, straight = WAYS[name]
    assert straight is not own
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected, found = (way(Image.fromarray(pixels)) for way in (own, straight))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert np.array_equal(expected, found)


@pytest.mark.parametrize(
    "change",
    [
        {"do_resize": False},
        {"resample": 2},
        {"size": {"height": 32, "width": 32}},
        {"size": {"shortest_edge": 32, "longest_edge": 64}},
        {"size": {"max_height": 32, "max_width": 32}},
        {"crop_size": {"height": 31, "width": 32}},
        {"do_center_crop": False},
    ],
)
def test_settings_that_lead_to_other_pixels_are_detected(
    change: dict[str, Any],
) -> None:
    processor = PROCESSORS["clip"]()
    own = _own(processor)
    assert speed_up(own, {**processor.to_dict(), **change}, 32) is own


def test_a_processor_that_depends_on_the_whole_image_is_kept() -> None:
    processor = PROCESSORS["clip"]()
    plain = _own(processor)

    def relative(image: Image.Image) -> np.ndarray:
        pixels = plain(image)
        return pixels - pixels.mean()

    assert speed_up(relative, processor.to_dict(), 32) is relative
