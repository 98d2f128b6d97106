"""Find the invisible watermarks of open generators by an exact binomial test.

The scripts of Stable Diffusion, diffusers, FLUX and InvokeAI write a fixed sequence of bits into
every image (:mod:`whichgen.evidence.hidden_data.watermark_decoder`). In an image without a
watermark, each decoded bit matches with probability 1/2. The p-value is the probability of at least
as many matching bits, multiplied by the number of comparisons (Bonferroni correction).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import comb, floor, log10

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.hidden_data.examined_pixels import decode_pixels, has_examined_pixels
from whichgen.evidence.hidden_data.watermark_decoder import (
    BLOCK,
    STEP,
    Coefficients,
    Planes,
    Rule,
    compute_u_channel,
    decode_bits,
    read_blocks,
    transform_float,
    transform_u,
)

#: Threshold of the p-value; a watermark is reported if the p-value is smaller. If decoded bits are
#: independent, this is the case for about one in a million images without a watermark, or fewer.
_MAX_P_VALUE = 1e-6

#: Maximum number of pixels from which bits are decoded, starting at the top, to save time.
_MAX_DECODED_PIXELS = 1 << 18

#: The sides of images with a watermark are usually multiples of this number of pixels. Other sides
#: suggest that the image was cropped.
_SIDE_MULTIPLE = 64

#: Side in pixels of the window in which the grid of a cropped image is searched.
_WINDOW = 256

#: Minimum concentration, at 1/4 and 3/4 of the step, of the values from :func:`read_blocks` of a
#: cropped image with a watermark: 1 if all values lie there, about 0 if they are spread evenly.
_MIN_CONCENTRATION = 0.1


@dataclass(frozen=True)
class Watermark:
    """Sequence of bits that a program writes into every image.

    Parameters
    ----------
    name
        Name of the watermark in reports.
    generator
        Generator that the watermark indicates.
    bits
        The sequence of bits, of shape (length,).
    is_float
        Whether the program watermarks floating-point pixels before they are rounded to integers.
    """

    name: str
    generator: str
    bits: NDArray[np.bool_]
    is_float: bool = False


@dataclass(frozen=True)
class _Match:
    """Agreement of decoded bits with a watermark."""

    watermark: Watermark
    n_matching_bits: int
    p_value: float
    is_cropped: bool = False


def _convert_text(text: str) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(text.encode(), np.uint8)).astype(bool)


def _convert_digits(digits: str) -> NDArray[np.bool_]:
    return np.array([digit == "1" for digit in digits])


# Sources: CompVis and Stability scripts (txt2img.py), diffusers and Stability's generative-models,
# black-forest-labs/flux (util.py), InvokeAI (invisible_watermark.py).
WATERMARKS = (
    Watermark("Stable Diffusion v1", "Stable Diffusion 1", _convert_text("StableDiffusionV1")),
    Watermark("Stable Diffusion v2", "Stable Diffusion 2", _convert_text("SDV2")),
    Watermark("InvokeAI", "InvokeAI", _convert_text("InvokeAI")),
    Watermark(
        "SDXL in diffusers",
        "SDXL",
        _convert_digits("101100111110110010010000011110111011000110011110"),
        is_float=True,
    ),
    Watermark(
        "FLUX",
        "FLUX.1",
        _convert_digits("001010101111111010000111100111001111010100101110"),
        is_float=True,
    ),
)

#: The first rule is better after weak compression, the second one after strong compression.
_RULES: tuple[Rule, ...] = ("sine", "share")

#: Watermark that is searched for in cropped images. The shorter sequences would have to match
#: almost exactly, because there are many positions.
_CROPPED = WATERMARKS[0]


def read_watermarks(image: Image.Image) -> Evidence:
    """Find an invisible watermark in the colors of an image.

    If a side is not a multiple of 64 pixels, the image may have been cropped after the watermark
    was written. In this case, the position of the grid of blocks is searched, too.

    Parameters
    ----------
    image
        Image as opened by Pillow. It is searched only if
        :func:`~whichgen.evidence.hidden_data.examined_pixels.has_examined_pixels` is true.

    Returns
    -------
    Evidence
        At most one finding.

    Raises
    ------
    ImageError
        The pixels can't be decoded, for example because they are truncated.
    """
    if not has_examined_pixels(image):
        return Evidence()
    decode_pixels(image)
    rows = max(_MAX_DECODED_PIXELS // image.width // BLOCK, 1) * BLOCK
    rgb = image.crop((0, 0, image.width, min(image.height, rows))).convert("RGB")
    red, green, blue = (np.asarray(channel) for channel in rgb.split())
    is_cropped = bool(image.width % _SIDE_MULTIPLE or image.height % _SIDE_MULTIPLE)
    matches = _find_matches((red, green, blue), search_grid=is_cropped)
    best = min(matches, key=lambda match: match.p_value, default=None)
    if best is None or best.p_value >= _MAX_P_VALUE:
        return Evidence()
    return Evidence((_create_finding(best),))


def _create_finding(match: _Match) -> Finding:
    length = len(match.watermark.bits)
    p_value = max(match.p_value, 1e-99)
    detail = f"{match.n_matching_bits} of {length} bits match; p-value {p_value:.0e}"
    if match.is_cropped:
        detail += "; the image was cropped"
    title = f"invisible watermark of {match.watermark.name}"
    return Finding(
        kind="watermark",
        title=title,
        detail=detail,
        indicates="synthetic",
        generator=match.watermark.generator,
        statement=f"{title}, p < 1e{floor(log10(p_value)) + 1}",
    )


def _find_matches(planes: Planes, *, search_grid: bool) -> Iterator[_Match]:
    u = compute_u_channel(planes)
    blocks = read_blocks(transform_u(u))
    yield from _match_watermarks(blocks, is_float=False)
    yield from _match_watermarks(read_blocks(transform_float(planes)), is_float=True)
    # Older versions of diffusers pass RGB to the library, which expects BGR.
    yield from _match_watermarks(read_blocks(transform_float(planes[::-1])), is_float=True)
    if search_grid:
        blocks = _find_grid(u)
    if _measure_concentration(blocks) >= _MIN_CONCENTRATION:
        yield from _match_cropped(blocks, _CROPPED)


#: Number of decoded sequences that are compared with a watermark.
_TRIALS = len(_RULES) * sum(2 if watermark.is_float else 1 for watermark in WATERMARKS)


def _match_watermarks(blocks: Coefficients, *, is_float: bool) -> Iterator[_Match]:
    for watermark in WATERMARKS:
        length = len(watermark.bits)
        if watermark.is_float != is_float or blocks.size < length:
            continue
        for rule in _RULES:
            bits = decode_bits(blocks, length, rule=rule)
            n_matching = int(np.count_nonzero(bits == watermark.bits))
            if n_matching > _count_repeats(bits):
                yield _Match(watermark, n_matching, _compute_p_value(n_matching, length, _TRIALS))


def _match_cropped(blocks: Coefficients, watermark: Watermark) -> Iterator[_Match]:
    """Compare bits for every width of the original image and every shift of the watermark."""
    length = len(watermark.bits)
    if blocks.size < length:
        return
    widths = range(length, 2 * length)  # only the width modulo the length matters
    bits = np.stack([decode_bits(blocks, length, width, rule="sine") for width in widths])
    expected_spectrum = np.fft.rfft(2.0 * watermark.bits - 1).conj()
    agreement = np.fft.irfft(np.fft.rfft(2.0 * bits - 1) * expected_spectrum, length).max(axis=1)
    best = int(agreement.argmax())
    n_matching = round((float(agreement[best]) + length) / 2)
    if n_matching > _count_repeats(bits[best]):
        n_trials = _TRIALS * BLOCK**2 * length**2
        p_value = _compute_p_value(n_matching, length, n_trials)
        yield _Match(watermark, n_matching, p_value, is_cropped=True)


def _count_repeats(bits: NDArray[np.bool_]) -> int:
    """Return the maximum number of bits that a circular shift by at least one leaves unchanged.

    The bits of flat areas and regular patterns are not independent. A match with a watermark counts
    only if it is better than the match of the bits with a shifted copy of themselves.
    """
    spectrum = np.fft.rfft(2.0 * bits - 1)
    agreement = np.fft.irfft(spectrum * spectrum.conj(), len(bits))[1:].max()
    return round((float(agreement) + len(bits)) / 2)


def _compute_p_value(n_matching: int, length: int, n_trials: int) -> float:
    """Bound the probability that any trial has at least ``n_matching`` random matches.

    The probabilities of the trials are added (Bonferroni correction), and the sum is limited to 1.
    """
    tail = sum(comb(length, k) for k in range(n_matching, length + 1))
    return min(float(tail / 2**length) * n_trials, 1.0)


def _find_grid(u: NDArray[np.float64]) -> Coefficients:
    """Return the blocks at the pixel offset with the highest concentration of their values."""
    top, left = (max((size - _WINDOW) // 2 // BLOCK * BLOCK, 0) for size in u.shape)
    window = u[top : top + _WINDOW, left : left + _WINDOW]
    scores = {}
    # y and x are offsets in pixels; row and column are offsets in wavelet coefficients.
    for y, x in product(range(2), repeat=2):
        haar = transform_u(window[y:, x:])
        for row, column in product(range(BLOCK // 2), repeat=2):
            score = _measure_concentration(read_blocks(haar[row:, column:]))
            scores[y + 2 * row, x + 2 * column] = score
    y, x = max(scores, key=scores.__getitem__)
    return read_blocks(transform_u(u[y:, x:]))


def _measure_concentration(blocks: Coefficients) -> float:
    """Return the concentration of values (see :data:`_MIN_CONCENTRATION`), from -1 to 1."""
    return float(-np.cos(4 * np.pi / STEP * blocks).mean()) if blocks.size else 0.0
