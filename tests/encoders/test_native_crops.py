"""Crops at native resolution: the mean over unresized windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whichgen.encoders.encoder import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.encoders.native_crops import cut_windows, pad_image, use_native_crops
from whichgen.errors import EncoderError

#: The tiny CLIP's input.
SIDE = 32

Noise = Callable[..., Image.Image]


@pytest.fixture
def plain(tiny_clip: Path) -> Encoder:
    return load_encoder(str(tiny_clip), device="cpu")


@pytest.fixture
def crops(tiny_clip: Path) -> Encoder:
    return load_encoder(f"{tiny_clip}:crops", device="cpu")


def encode(encoder: Encoder, *images: Image.Image) -> list[np.ndarray]:
    return encoder.encode(np.stack([encoder.preprocess(image) for image in images]))


def test_features_are_the_mean_over_corners_and_center(
    plain: Encoder, crops: Encoder, noise: Noise
) -> None:
    image = noise(0, (50, 40))
    boxes = [(0, 0), (18, 0), (0, 8), (18, 8), (9, 4)]
    alone = encode(plain, *(image.crop((x, y, x + SIDE, y + SIDE)) for x, y in boxes))
    for features, blocks in zip(encode(crops, image), alone, strict=True):
        np.testing.assert_allclose(features[0], blocks.mean(axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(SIDE, SIDE), (SIDE, 60), (60, SIDE), (7, 90), (10, 10)])
def test_duplicate_windows_count_once_in_mixed_batches(
    plain: Encoder, crops: Encoder, noise: Noise, size: tuple[int, int]
) -> None:
    image, other = noise(1, size), noise(2, (50, 40))
    windows = cut_windows(pad_image(np.asarray(image), SIDE, "symmetric"), SIDE)
    assert {w.shape for w in windows} == {(SIDE, SIDE, 3)}
    alone = encode(plain, *map(Image.fromarray, windows))
    for mixed, single, blocks in zip(
        encode(crops, other, image), encode(crops, other), alone, strict=True
    ):
        np.testing.assert_allclose(mixed[0], single[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(mixed[1], blocks.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_distinct_windows_of_equal_content_all_count(
    plain: Encoder, crops: Encoder, noise: Noise
) -> None:
    # The two upper corners show the same white sky.
    image = Image.new("RGB", (2 * SIDE, 2 * SIDE), "white")
    image.paste(noise(5, (2 * SIDE, SIDE)), (0, SIDE))
    boxes = [(0, 0), (SIDE, 0), (0, SIDE), (SIDE, SIDE), (SIDE // 2, SIDE // 2)]
    alone = encode(plain, *(image.crop((x, y, x + SIDE, y + SIDE)) for x, y in boxes))
    for features, blocks in zip(encode(crops, image), alone, strict=True):
        np.testing.assert_allclose(features[0], blocks.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_an_image_of_the_window_size_is_encoded_unchanged(
    plain: Encoder, crops: Encoder, noise: Noise
) -> None:
    image = noise(3, (SIDE, SIDE))
    for ours, theirs in zip(encode(crops, image), encode(plain, image), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_an_image_of_one_color_has_its_features(plain: Encoder, crops: Encoder) -> None:
    image = Image.new("RGB", (90, 70), (10, 200, 30))
    for ours, theirs in zip(encode(crops, image), encode(plain, image), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_small_image_is_padded_by_reflection() -> None:
    pixels = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    window = pad_image(pixels, 4, "symmetric")
    assert np.array_equal(window[:, 3], window[:, 2])
    assert np.array_equal(window[2:], window[1::-1])


def test_crops_have_another_name_and_key(plain: Encoder, crops: Encoder) -> None:
    assert crops.name == f"{plain.name}:crops"
    assert crops.key != plain.key
    assert crops.block_dims == plain.block_dims


def test_variants_can_be_combined(tiny_clip: Path, noise: Noise) -> None:
    joined = load_encoder(f"{tiny_clip}+{tiny_clip}:crops:patches", device="cpu")
    assert joined.block_dims == (32,) * 3 + (96,) * 3
    assert joined.name == f"{tiny_clip}+{tiny_clip}:patches:crops"
    blocks = encode(joined, noise(4, (64, 40)))
    assert [block.shape for block in blocks] == [(1, 32)] * 3 + [(1, 96)] * 3


def test_an_encoder_without_a_native_size_is_rejected(plain: Encoder) -> None:
    with pytest.raises(EncoderError, match=r"the native input size of .* is unknown"):
        use_native_crops(replace(plain, native_side=0))
