"""Residual statistics agree with counting one by one and have the required invariances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image, ImageOps

from whichgen.encoders.loading import load_encoder
from whichgen.encoders.residual_statistics import (
    FILTERS,
    compute_statistics,
    load_residual_statistics,
)


def noise(size: tuple[int, int], seed: int = 0, spread: int = 12) -> Image.Image:
    rng = np.random.default_rng(seed)
    pixels = 120 + rng.integers(-spread, spread + 1, (size[1], size[0], 3))
    return Image.fromarray(pixels.astype(np.uint8))


def level(residual: Fraction, step: int) -> int:
    """Round to the nearest step, halves away from zero, and clip at two."""
    whole = int(abs(residual) / step + Fraction(1, 2))
    return min(whole, 2) * (1 if residual >= 0 else -1)


def count_naively(image: Image.Image, channel: str, name: str, step: int) -> list[float]:
    """Fractions of the symmetry classes of triples, ordered by their smallest member."""
    r, g, b = (np.asarray(image)[..., c].astype(int) for c in range(3))
    x = {
        "luma": (299 * r + 587 * g + 114 * b, 1000),
        "green": (g, 1),
        "red − green": (r - g, 1),
        "blue − green": (b - g, 1),
    }[channel]
    values, unit = x
    if name == "Ker–Böhme":
        kernel = np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]])
        rows, columns = values.shape
        maps = [
            np.array(
                [
                    [int((values[i : i + 3, j : j + 3] * kernel).sum()) for j in range(columns - 2)]
                    for i in range(rows - 2)
                ]
            )
        ]
        unit *= 4
    else:
        maps = [np.diff(values, list(FILTERS).index(name) + 1, axis=axis) for axis in (0, 1)]
    counts: Counter[tuple[int, ...]] = Counter()
    for residual in maps:
        z = [[level(Fraction(int(v), unit), step) for v in row] for row in residual]
        lines = z + [list(column) for column in zip(*z, strict=True)]
        for line in lines:
            for triple in zip(line, line[1:], line[2:], strict=False):
                negative = tuple(-v for v in triple)
                counts[min(triple, triple[::-1], negative, negative[::-1])] += 1
    levels = range(-2, 3)
    classes = sorted(
        {
            min(t, t[::-1], n, n[::-1])
            for t in ((a, b, c) for a in levels for b in levels for c in levels)
            for n in (tuple(-v for v in t),)
        }
    )
    total = sum(counts.values())
    return [counts[c] / total for c in classes]


@pytest.mark.parametrize("channel", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_fractions_equal_naive_counts(channel: int, kind: int) -> None:
    image = noise((11, 9), seed=channel)
    names = ("luma", "green", "red − green", "blue − green")
    name = list(FILTERS)[kind]
    statistics = compute_statistics(image)[channel, kind]
    for s, step in enumerate(FILTERS[name]):
        expected = count_naively(image, names[channel], name, int(step))
        np.testing.assert_allclose(statistics[s] ** 2, expected, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        ImageOps.mirror,
        ImageOps.flip,
        ImageOps.invert,
        lambda i: i.transpose(Image.Transpose.ROTATE_90),
    ],
)
def test_mirroring_inverting_and_rotating_change_nothing(
    change: Callable[[Image.Image], Image.Image],
) -> None:
    image = noise((40, 31))
    assert np.array_equal(compute_statistics(change(image)), compute_statistics(image))


def test_smoothing_changes_much_and_brightness_nothing() -> None:
    image = noise((64, 64))
    brighter = image.point(lambda v: v + 20)
    smooth = image.resize((96, 96), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(compute_statistics(brighter), compute_statistics(image), atol=1e-6)
    assert np.linalg.norm(compute_statistics(smooth) - compute_statistics(image)) > 1


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (7, 7), (513, 100), (100, 2000), (1500, 1200)])
def test_fractions_sum_to_one_for_every_size(size: tuple[int, int]) -> None:
    statistics = compute_statistics(noise(size))
    assert statistics.shape == (4, 4, 2, 39)
    assert statistics.dtype == np.float32
    np.testing.assert_allclose((statistics**2).sum(axis=-1), 1, rtol=1e-5)


def test_a_large_image_is_read_at_its_corners_and_center() -> None:
    image = noise((1000, 900), spread=3)
    expected = compute_statistics(image)
    pixels = np.array(image)
    pixels[300:320, 0:50] = 0  # between the windows
    assert np.array_equal(compute_statistics(Image.fromarray(pixels)), expected)
    for y, x in ((0, 0), (0, 990), (890, 0), (890, 990), (450, 500)):
        changed = np.array(image)
        changed[y : y + 10, x : x + 10] = 0
        assert not np.array_equal(compute_statistics(Image.fromarray(changed)), expected), (y, x)


def test_blocks_are_channels_then_filters() -> None:
    encoder = load_encoder("traces", device="cpu")
    assert encoder.block_dims == (312,) * 8
    assert encoder.block_groups == (tuple((b,) for b in range(8)),)
    statistics = encoder.preprocess(noise((32, 32)))
    blocks = encoder.encode(statistics[None])
    for c in range(4):
        assert np.array_equal(blocks[c][0], statistics[c].ravel())
        assert np.array_equal(blocks[4 + c][0], statistics[:, c].ravel())


@pytest.mark.parametrize("size", [(64, 40), (1, 1), (1100, 700)])
def test_half_equals_the_statistics_of_the_image_scaled_by_half(size: tuple[int, int]) -> None:
    whole, half = (load_encoder(name, device="cpu") for name in ("traces", "traces:half"))
    assert half.name == "traces:half"
    assert half.block_dims == (312,) * 4
    assert half.block_groups == (tuple((b,) for b in range(4)),)
    assert half.key != whole.key
    image = noise(size)
    if size == (1, 1):
        scaled = image.resize((8, 8))
    else:  # Pillow averages, and rounds halves up, along rows and then along columns.
        pixels = np.asarray(image).astype(np.uint16)
        pixels = (pixels[:, ::2] + pixels[:, 1::2] + 1) // 2
        pixels = (pixels[::2] + pixels[1::2] + 1) // 2
        scaled = Image.fromarray(pixels.astype(np.uint8))
    expected = whole.encode(whole.preprocess(scaled)[None])[:4]
    for ours, theirs in zip(half.encode(half.preprocess(image)[None]), expected, strict=True):
        assert np.array_equal(ours, theirs)


def test_precision_makes_no_difference() -> None:
    exact, narrow = (
        load_residual_statistics(device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16")
    )
    pixels = exact.preprocess(noise((20, 20)))[None]
    for a, b in zip(exact.encode(pixels), narrow.encode(pixels), strict=True):
        assert np.array_equal(a, b)
    assert narrow.dtype == "bfloat16"
