"""Power spectra and residual correlations (``spectra``) of an image at native resolution.

The upsampling layers of a generator leave regular patterns in its images, which appear as peaks of
the power spectrum and of the autocorrelation. Residuals of GAN images contain a fingerprint of the
GAN (Marra et al., 2019), upsampling layers fail to reproduce the spectral distribution of real
images (Durall, Keuper & Keuper, 2020), and the Fourier spectra and autocorrelations of images from
GANs and diffusion models differ from those of real images (Corvi et al., 2023).

Blocks 0–2 are the log spectra of luma, red − green and blue − green. Let X be the discrete Fourier
transform of a window of 64 × 64 pixels, after the mean is subtracted and the window is multiplied
by a Hann window. The features are::

    S(u, v) = mean over windows of log(2 |X(u, v)|² + 2 |X(−u, v)|² + 0.01),   0 ≤ u, v ≤ 32

The power at (−u, −v) equals that at (u, v), so the sum adds the four frequencies (±u, ±v), and
mirroring a window does not change the features.

Block 3 describes the residuals r of red, green and blue in windows of 256 × 256 pixels: the
Laplacian, clipped to ±60 and divided by σ, its standard deviation plus 0.001. The features are
log σ of each channel and, for pairs of channels (c, d), the circular correlations, averaged over
the two signs of the vertical lag::

    ρ(i, j) = mean over pixels (y, x) of r_c(y ± i, x + j) · r_d(y, x)

These features are medians over windows. Each block forms its own block group.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from whichgen.encoders.encoder import Encoder
from whichgen.encoders.encoder_names import SPECTRA
from whichgen.encoders.native_crops import pad_image
from whichgen.io.run_metadata import hash_parts

#: Names of the channels of the log spectra, in the order of their blocks.
CHANNELS = ("luma", "red − green", "blue − green")

#: Windows of the spectra: side in pixels, and maximum number along each axis of the image.
_SIDE, _GRID = 64, 8

#: Windows of the correlations: side in pixels, and maximum number along each axis of the image.
_LARGE_SIDE, _LARGE_GRID = 256, 3

#: Windows start at multiples of this number of pixels, the block size of JPEG.
_ALIGNMENT = 8

#: Constant added to the power of the spectra, so that the logarithm is finite.
_FLOOR = 0.01

#: The residuals are clipped to ± this value.
_CLIP = 60

#: Pairs of channels whose residuals are correlated: red, green and blue are 0, 1 and 2.
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2))

#: The lags (i, j) of a correlation are 0 ≤ i, j < 10 within a channel, and 0 ≤ i, j < 4 between two
#: channels.
_LAGS, _CROSS_LAGS = 10, 4

#: Further lags within a channel: block sizes of JPEG and common upsampling factors. The
#: lags (8, 0), (8, 8) and (0, 8) are also in :data:`_LAGS` and therefore count twice.
_FAR_LAGS = ((16, 0), (0, 16), (16, 16), (8, 0), (8, 8), (0, 8))

#: All lags along an axis, ascending.
_SHIFTS = (*range(_LAGS), 16)

#: Number of rows of a window that are correlated at once, so that their copies fit in the
#: CPU's cache.
_ROWS = 16


def load_spectra(*, device: str, dtype: str) -> Encoder:
    """Create an encoder that computes log spectra and residual correlations: 4 blocks.

    Blocks 0–2 have 1089 features each, and block 3 has 369. ``device`` and ``dtype`` only set the
    attributes of the encoder: features are always computed on the CPU and returned as float32.
    """
    settings = {
        "version": "1",
        "channels": list(CHANNELS),
        "window": _SIDE,
        "grid": _GRID,
        "alignment": _ALIGNMENT,
        "floor": _FLOOR,
        "correlation_window": _LARGE_SIDE,
        "correlation_grid": _LARGE_GRID,
        "clip": _CLIP,
        "lags": [_LAGS, _CROSS_LAGS, list(map(list, _FAR_LAGS))],
    }
    blank = compute_spectra(Image.new("RGB", (1, 1)))
    block_dims = tuple(block.shape[1] for block in _split_blocks(blank[None]))
    return Encoder(
        name=SPECTRA,
        weights_hash=hash_parts([SPECTRA, repr(settings)]),
        preprocessing=settings,
        preprocess=compute_spectra,
        encode=_split_blocks,
        block_dims=block_dims,
        device=device,
        dtype=dtype,
        block_groups=(tuple((block,) for block in range(len(block_dims))),),
    )


def compute_spectra(image: Image.Image) -> np.ndarray:
    """Compute the features of an RGB image of any size: float32 array (3636,).

    The flattened log spectra (3, 33, 33) are followed by the 369 features of block 3. An image
    smaller than a window is padded by reflection.
    """
    pixels = np.asarray(image)
    return np.concatenate([_compute_log_spectra(pixels).ravel(), _compute_correlations(pixels)])


def _split_blocks(features: np.ndarray) -> list[np.ndarray]:
    """Split features (n, 3636) into the 4 blocks."""
    size = (_SIDE // 2 + 1) ** 2
    return np.split(features, [size, 2 * size, 3 * size], axis=1)


def _cut_grid(pixels: np.ndarray, side: int, grid: int) -> np.ndarray:
    """Cut at most ``grid`` × ``grid`` evenly spaced windows from an image, uint8 array (h, w, 3).

    Return a uint8 array (n, 3, side, side). Windows start at multiples of :data:`_ALIGNMENT`.
    """
    pixels = pad_image(pixels, side, "reflect")
    rows, columns = (
        np.linspace(0, length - side, min(grid, length // side)).astype(int)
        for length in pixels.shape[:2]
    )
    corners = [(y - y % _ALIGNMENT, x - x % _ALIGNMENT) for y in rows for x in columns]
    windows = [pixels[y : y + side, x : x + side] for y, x in corners]
    # The Fourier transform of contiguous arrays is twice as fast.
    return np.ascontiguousarray(np.stack(windows).transpose(0, 3, 1, 2))


def _compute_log_spectra(pixels: np.ndarray) -> np.ndarray:
    """Compute the log spectra S of an image, uint8 array (h, w, 3): float32 array (3, 33, 33)."""
    # In float32, rounding errors are noticeable at frequencies that have little power.
    red, green, blue = np.moveaxis(_cut_grid(pixels, _SIDE, _GRID).astype(np.float64), 1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    channels = np.stack([luma, red - green, blue - green])
    channels -= channels.mean(axis=(2, 3), keepdims=True)
    hann = np.hanning(_SIDE)
    transform = np.fft.rfft2(channels * np.outer(hann, hann))
    power = 2 * (transform.real**2 + transform.imag**2)
    half = _SIDE // 2
    folded = power[..., : half + 1, :]
    folded[..., 1:half, :] += power[..., :half:-1, :]
    folded[..., [0, half], :] *= 2
    return np.asarray(np.log(folded + _FLOOR).mean(axis=1), dtype=np.float32)


def _compute_correlations(pixels: np.ndarray) -> np.ndarray:
    """Compute the features of block 3 of an image, uint8 array (h, w, 3): float32 array (369,)."""
    windows = _cut_grid(pixels, _LARGE_SIDE, _LARGE_GRID).astype(np.int16)
    return np.asarray(np.median(list(map(_correlate, windows)), axis=0), dtype=np.float32)


def _correlate(window: np.ndarray) -> np.ndarray:
    """Compute ρ and log σ of a window, int16 array (3, 256, 256): float32 array (369,)."""
    center, up, down = window[:, 1:-1, 1:-1], window[:, :-2, 1:-1], window[:, 2:, 1:-1]
    laplacian = 4 * center - up - down - window[:, 1:-1, :-2] - window[:, 1:-1, 2:]
    residuals = laplacian.clip(-_CLIP, _CLIP).astype(np.float32)
    # A sum of 64 516 squares is inaccurate in float32.
    scales = (residuals.std(axis=(1, 2), dtype=np.float64) + 1e-3).astype(np.float32)
    sums = _sum_products(residuals / scales[:, None, None])
    features = []
    for (c, d), correlation in zip(_PAIRS, sums / residuals[0].size, strict=True):
        lags = _LAGS if c == d else _CROSS_LAGS
        features.append(correlation[:lags, :lags].ravel())
        if c == d:
            features.append(correlation[tuple(np.searchsorted(_SHIFTS, _FAR_LAGS).T)])
    return np.concatenate([*features, np.log(scales)])


def _sum_products(r: np.ndarray) -> np.ndarray:
    """Sum r_c(y ± i, x + j) · r_d(y, x) over pixels, averaged over both signs, for lags i and j.

    ``r`` is a float32 array (3, h, w). The lags are those in :data:`_SHIFTS`. Return a float32
    array (6 pairs, lags, lags); between two channels, only the first 4 lags are computed, and
    the other sums are 0.
    """
    _, height, width = r.shape
    max_shift = _SHIFTS[-1]
    wrapped_columns = np.concatenate([r, r[..., :max_shift]], axis=2)
    wrapped_rows = np.concatenate([r[:, -max_shift:], r, r[:, :max_shift]], axis=1) / 2
    sums = np.zeros((len(_PAIRS), len(_SHIFTS), len(_SHIFTS)), np.float32)
    for start in range(0, height, _ROWS):
        end = min(start + _ROWS, height)
        right = np.stack([wrapped_columns[:, start:end, j : j + width] for j in _SHIFTS], axis=2)
        ends = [
            (wrapped_rows[:, max_shift - i :], wrapped_rows[:, max_shift + i :]) for i in _SHIFTS
        ]
        vertical_sums = np.stack(
            [up[:, start:end] + down[:, start:end] for up, down in ends], axis=2
        )
        for p, (c, d) in enumerate(_PAIRS):
            n = len(_SHIFTS) if c == d else _CROSS_LAGS
            # Multiply row by row. Larger products would use all cores, which other images need.
            products = vertical_sums[d, :, :n] @ right[c, :, :n].swapaxes(1, 2)
            sums[p, :n, :n] += products.sum(axis=0)
    return sums
