"""Find the invisible watermarks of open generators, by an exact test.

The scripts of Stable Diffusion, diffusers, FLUX and InvokeAI write a fixed sequence of bits into
every image (see :mod:`whichgen.evidence.watermark_decoder`). In any other image each decoded bit
agrees by chance. The probability that so many agree is that of fair coins, multiplied by the number
of sequences and places that were tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import comb, floor, log10

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whichgen.evidence.examined_pixels import has_examined_pixels
from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.watermark_decoder import (
    BLOCK,
    STEP,
    Coefficients,
    Planes,
    Rule,
    compute_u,
    decode_bits,
    read_blocks,
    transform_float,
    transform_u,
)

#: Largest probability of a match by chance that counts as a watermark.
MAX_PROBABILITY = 1e-6

#: Maximum number of pixels that are examined, from the top.
_MAX_EXAMINED = 1 << 18

#: The sides of generated images are multiples of this; others may be cropped.
_WHOLE = 64

#: Side in pixels of the window in which the grid of a cropped image is searched.
_WINDOW = 256

#: Smallest concentration of coefficients at a quarter and three quarters of the step: 1 if all lie
#: there, 0 on average without a watermark.
_MIN_CONCENTRATION = 0.1


@dataclass(frozen=True)
class Watermark:
    """A sequence of bits that a program writes into every image.

    Parameters
    ----------
    name
        Name of the watermark in reports.
    generator
        Generator that it indicates.
    bits
        The sequence.
    is_float
        Whether the program watermarks floating-point pixels before it rounds them.
    """

    name: str
    generator: str
    bits: NDArray[np.bool_]
    is_float: bool = False


@dataclass(frozen=True)
class _Match:
    """Agreement of decoded bits with a watermark."""

    watermark: Watermark
    matching: int
    probability: float
    cropped: bool = False


def _from_text(text: str) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(text.encode(), np.uint8)).astype(bool)


def _from_digits(digits: str) -> NDArray[np.bool_]:
    return np.array([digit == "1" for digit in digits])


# CompVis and Stability scripts (txt2img.py), diffusers and Stability's generative-models,
# black-forest-labs/flux (util.py), InvokeAI (invisible_watermark.py).
WATERMARKS = (
    Watermark("Stable Diffusion v1", "Stable Diffusion 1", _from_text("StableDiffusionV1")),
    Watermark("Stable Diffusion v2", "Stable Diffusion 2", _from_text("SDV2")),
    Watermark("InvokeAI", "InvokeAI", _from_text("InvokeAI")),
    Watermark(
        "SDXL in diffusers",
        "SDXL",
        _from_digits("101100111110110010010000011110111011000110011110"),
        is_float=True,
    ),
    Watermark(
        "FLUX",
        "FLUX.1",
        _from_digits("001010101111111010000111100111001111010100101110"),
        is_float=True,
    ),
)

#: The first is better after weak compression, the second after strong compression.
_RULES: tuple[Rule, ...] = ("sine", "share")

#: Only long sequences are searched for in cropped images: others would need an exact match.
_CROPPED = WATERMARKS[0]


def read_watermarks(image: Image.Image) -> Evidence:
    """Find an invisible watermark in a color image of at most 4 million pixels.

    The position of the grid of blocks is searched if the sides are not multiples of 64 pixels,
    because the image may be cropped.
    """
    if not has_examined_pixels(image):
        return Evidence()
    rows = max(_MAX_EXAMINED // image.width // BLOCK, 1) * BLOCK
    rgb = image.crop((0, 0, image.width, min(image.height, rows))).convert("RGB")
    red, green, blue = (np.asarray(channel) for channel in rgb.split())
    is_whole = image.width % _WHOLE == image.height % _WHOLE == 0
    matches = _find_matches((red, green, blue), search_grid=not is_whole)
    best = min(matches, key=lambda match: match.probability, default=None)
    if best is None or best.probability >= MAX_PROBABILITY:
        return Evidence()
    return Evidence((_report(best),))


def _report(match: _Match) -> Finding:
    length = len(match.watermark.bits)
    probability = max(match.probability, 1e-99)
    detail = f"{match.matching} of {length} bits match; probability by chance {probability:.0e}"
    if match.cropped:
        detail += "; the image was cropped"
    title = f"invisible watermark of {match.watermark.name}"
    return Finding(
        kind="watermark",
        title=title,
        detail=detail,
        indicates="synthetic",
        generator=match.watermark.generator,
        statement=f"{title}, p < 1e{floor(log10(probability)) + 1}",
    )


def _find_matches(planes: Planes, *, search_grid: bool) -> Iterator[_Match]:
    u = compute_u(planes)
    blocks = read_blocks(transform_u(u))
    yield from _match_bits(blocks, is_float=False)
    yield from _match_bits(read_blocks(transform_float(planes)), is_float=True)
    # Older versions of diffusers pass RGB to the library, which expects BGR.
    yield from _match_bits(read_blocks(transform_float(planes[::-1])), is_float=True)
    if search_grid:
        blocks = _find_grid(u)
    if _concentration(blocks) >= _MIN_CONCENTRATION:
        yield from _match_cropped(blocks, _CROPPED)


#: Number of decoded sequences that are compared with a watermark.
_TRIALS = len(_RULES) * sum(2 if watermark.is_float else 1 for watermark in WATERMARKS)


def _match_bits(blocks: Coefficients, *, is_float: bool) -> Iterator[_Match]:
    for watermark in WATERMARKS:
        length = len(watermark.bits)
        if watermark.is_float != is_float or blocks.size < length:
            continue
        for rule in _RULES:
            bits = decode_bits(blocks, length, rule=rule)
            matching = int(np.count_nonzero(bits == watermark.bits))
            if matching > _count_repeats(bits):
                yield _Match(watermark, matching, _probability(matching, length, _TRIALS))


def _match_cropped(blocks: Coefficients, watermark: Watermark) -> Iterator[_Match]:
    """Match at every width of the original image and every position of its first block."""
    length = len(watermark.bits)
    if blocks.size < length:
        return
    widths = range(length, 2 * length)  # only the remainder matters
    bits = np.stack([decode_bits(blocks, length, width, rule="sine") for width in widths])
    expected = np.fft.rfft(2.0 * watermark.bits - 1).conj()
    agreement = np.fft.irfft(np.fft.rfft(2.0 * bits - 1) * expected, length).max(axis=1)
    best = int(agreement.argmax())
    matching = round((float(agreement[best]) + length) / 2)
    if matching > _count_repeats(bits[best]):
        trials = _TRIALS * BLOCK**2 * length**2
        yield _Match(watermark, matching, _probability(matching, length, trials), cropped=True)


def _count_repeats(bits: NDArray[np.bool_]) -> int:
    """Return how many bits agree with those some steps further, at most.

    Flat areas and regular patterns give bits that are not independent. If the bits repeat
    themselves better than they match a watermark, they prove nothing.
    """
    spectrum = np.fft.rfft(2.0 * bits - 1)
    agreement = np.fft.irfft(spectrum * spectrum.conj(), len(bits))[1:].max()
    return round((float(agreement) + len(bits)) / 2)


def _probability(matching: int, length: int, trials: int) -> float:
    """Return the probability that fair coins match as well, in any of several trials."""
    tail = sum(comb(length, k) for k in range(matching, length + 1))
    return min(float(tail / 2**length) * trials, 1.0)


def _find_grid(u: NDArray[np.float64]) -> Coefficients:
    """Return the blocks at the offset in pixels at which their coefficients concentrate most."""
    top, left = (max((size - _WINDOW) // 2 // BLOCK * BLOCK, 0) for size in u.shape)
    window = u[top : top + _WINDOW, left : left + _WINDOW]
    scores = {}
    for y, x in product(range(2), repeat=2):
        haar = transform_u(window[y:, x:])
        for row, column in product(range(BLOCK // 2), repeat=2):
            score = _concentration(read_blocks(haar[row:, column:]))
            scores[y + 2 * row, x + 2 * column] = score
    y, x = max(scores, key=scores.__getitem__)
    return read_blocks(transform_u(u[y:, x:]))


def _concentration(blocks: Coefficients) -> float:
    return float(-np.cos(4 * np.pi / STEP * blocks).mean()) if blocks.size else 0.0
