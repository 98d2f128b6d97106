"""Log spectra and correlations agree with their definition and have the required invariances."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.special import digamma

from whichgen.encoders.loading import load_encoder
from whichgen.encoders.spectra import compute_spectra

SPECTRUM = 33 * 33
EMPTY = np.log(0.01)  # the value of a frequency without power


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(90, 170, (size[1], size[0], 3)).astype(np.uint8))


def split(image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Return the log spectra (3, 33, 33) and the correlations (369,) of an image."""
    features = compute_spectra(image)
    return features[: 3 * SPECTRUM].reshape(3, 33, 33), features[3 * SPECTRUM :]


@pytest.mark.parametrize(("u", "v"), [(0, 8), (8, 0), (5, 12), (32, 32), (31, 3)])
def test_a_periodic_pattern_has_its_peak_at_its_frequency(u: int, v: int) -> None:
    y, x = np.mgrid[:128, :192]
    pattern = 128 + 50 * np.cos(2 * np.pi * (u * y + v * x) / 64)
    red = np.stack([pattern, np.full_like(pattern, 128), np.full_like(pattern, 128)], axis=-1)
    luma, red_green, blue_green = split(Image.fromarray(red.round().astype(np.uint8)))[0]
    for spectrum in (luma, red_green):
        assert np.unravel_index(spectrum.argmax(), spectrum.shape) == (u, v)
    np.testing.assert_allclose(blue_green, EMPTY, atol=1e-5)


def test_white_noise_has_a_flat_spectrum() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (512, 512, 3)).astype(np.uint8)
    # At interior frequencies, the power of noise with variance s² is s² · sum(w²) · Gamma(2) · 2.
    window = np.hanning(64)
    variance = (256**2 - 1) / 12 * np.array([0.299**2 + 0.587**2 + 0.114**2, 2, 2])
    expected = np.log(2 * variance * (window**2).sum() ** 2) + digamma(2)
    for spectrum, level in zip(split(Image.fromarray(pixels))[0], expected, strict=True):
        inside = spectrum[2:32, 2:32]
        assert abs(inside.mean() - level) < 0.03
        assert abs(inside - level).max() < 0.6


def test_mirroring_does_not_change_spectra() -> None:
    image = noise((192, 128))
    expected = split(image)[0]
    for change in (ImageOps.mirror, ImageOps.flip):
        np.testing.assert_allclose(split(change(image))[0], expected, atol=1e-4)
    rotated = split(image.transpose(Image.Transpose.ROTATE_90))[0]
    np.testing.assert_allclose(rotated, expected.transpose(0, 2, 1), atol=1e-4)
    assert abs(rotated - expected).max() > 0.1


def test_correlations_equal_products_of_shifted_residuals() -> None:
    image = noise((256, 256)).resize((256, 256), box=(0, 0, 128, 128))
    pixels = np.asarray(image).astype(float).transpose(2, 0, 1)
    inner = slice(1, -1)
    residuals = 4 * pixels[:, inner, inner]
    for axis in (1, 2):
        for shift in (-1, 1):
            residuals -= np.roll(pixels, shift, axis)[:, inner, inner]
    residuals = residuals.clip(-60, 60)
    assert (abs(residuals) == 60).any()
    std = residuals.std(axis=(1, 2)) + 1e-3
    r = residuals / std[:, None, None]

    def correlate(c: int, d: int, lags: list[tuple[int, int]]) -> list[float]:
        return [
            np.mean([(np.roll(r[c], (sign * i, -j), (0, 1)) * r[d]).mean() for sign in (-1, 1)])
            for i, j in lags
        ]

    square = [(i, j) for i in range(10) for j in range(10)]
    far = [(16, 0), (0, 16), (16, 16), (8, 0), (8, 8), (0, 8)]
    small = [(i, j) for i in range(4) for j in range(4)]
    expected = [value for c in range(3) for value in correlate(c, c, square + far)]
    for c, d in ((0, 1), (1, 2), (0, 2)):
        expected += correlate(c, d, small)
    np.testing.assert_allclose(split(image)[1], [*expected, *np.log(std)], atol=2e-6)


def test_spectra_are_means_and_correlations_are_medians_over_windows() -> None:
    parts = [noise((256, 256), seed).reduce(factor) for seed, factor in enumerate((1, 2, 4))]
    parts = [part.resize((256, 256), Image.Resampling.NEAREST) for part in parts]
    joined = Image.new("RGB", (768, 256))
    for i, part in enumerate(parts):
        joined.paste(part, (256 * i, 0))
    correlations = np.median([split(part)[1] for part in parts], axis=0)
    np.testing.assert_allclose(split(joined)[1], correlations, atol=1e-6)
    # A strip of 512 × 64 pixels has eight windows.
    strip = joined.crop((128, 0, 640, 64))
    boxes = [(x, 0, x + 64, 64) for x in range(0, 512, 64)]
    spectra = np.mean([split(strip.crop(box))[0] for box in boxes], axis=0)
    np.testing.assert_allclose(split(strip)[0], spectra, atol=1e-4)


def test_windows_start_at_multiples_of_eight() -> None:
    image = noise((139, 64))  # two windows, at 0 and 72 instead of 75
    boxes = [(0, 0, 64, 64), (72, 0, 136, 64)]
    spectra = np.mean([split(image.crop(box))[0] for box in boxes], axis=0)
    np.testing.assert_allclose(split(image)[0], spectra, atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (63, 65), (257, 255), (3000, 70)])
def test_features_are_finite_for_every_size(size: tuple[int, int]) -> None:
    features = compute_spectra(noise(size))
    assert features.shape == (3 * SPECTRUM + 369,)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_a_small_image_is_padded_by_reflection() -> None:
    image = noise((40, 50))
    padded = np.pad(np.asarray(image), ((0, 206), (0, 216), (0, 0)), "reflect")
    small = Image.fromarray(padded[:64, :64])
    assert np.array_equal(split(image)[0], split(small)[0])
    assert np.array_equal(split(image)[1], split(Image.fromarray(padded))[1])


def test_blocks_are_three_spectra_and_correlations_and_ignore_the_batch() -> None:
    encoder = load_encoder("spectra", device="cpu")
    assert encoder.block_dims == (SPECTRUM, SPECTRUM, SPECTRUM, 369)
    assert encoder.block_groups == (((0,), (1,), (2,), (3,)),)
    images = [noise((80, 90), seed) for seed in range(3)]
    batch = encoder.encode(np.stack([encoder.preprocess(image) for image in images]))
    for i, image in enumerate(images):
        alone = encoder.encode(encoder.preprocess(image)[None])
        spectra, correlations = split(image)
        expected = [*spectra.reshape(3, SPECTRUM), correlations]
        for together, single, features in zip(batch, alone, expected, strict=True):
            assert np.array_equal(together[i], single[0])
            assert np.array_equal(single[0], features)
