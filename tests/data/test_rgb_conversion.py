"""Color profiles are applied as a viewer does; without one, no pixel changes."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from color_profiles import ADOBE_RGB, DISPLAY_P3, SRGB, gray_profile, rgb_profile, to_srgb
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from whichgen.data.images.decoding import decode_image, hash_image
from whichgen.data.images.rgb_conversion import MAX_PROFILE_BYTES
from whichgen.features.image_encoding import make_image_loaders

P3 = rgb_profile(DISPLAY_P3, 2.2)


@pytest.fixture
def colors() -> Image.Image:
    """All combinations of six levels of red, green and blue."""
    levels = np.arange(0, 256, 51, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(12, 18, 3)
    return Image.fromarray(np.ascontiguousarray(grid))


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    image = decode_image(data)
    assert image.mode == "RGB"
    assert "icc_profile" not in image.info  # a JPEG copy would be converted again
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(("primaries", "gamma"), [(DISPLAY_P3, 2.2), (ADOBE_RGB, 2.2), (SRGB, 1.8)])
def test_wide_gamut_is_converted(
    colors: Image.Image, form: str, primaries: np.ndarray, gamma: float
) -> None:
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    data = encode(colors, form, icc_profile=rgb_profile(primaries, gamma), **options)
    expected = to_srgb(np.asarray(colors), primaries, gamma)
    assert np.abs(pixels(data) - expected).max() <= 3
    assert np.abs(pixels(data) - np.asarray(colors)).max() > 15


def test_variants_of_srgb_change_no_pixel(colors: Image.Image) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    others = Path(ImageCms.__file__).parents[1].glob("fpdf/data/color_profiles/sRGB*.icc")
    for profile in (srgb, *(path.read_bytes() for path in others)):
        for image in (colors, colors.convert("RGBA"), colors.quantize(16)):
            with_profile, without = encode(image, icc_profile=profile), encode(image)
            assert np.array_equal(pixels(with_profile), pixels(without))


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA"])
def test_transparency_and_palettes_keep_their_colors(colors: Image.Image, mode: str) -> None:
    """The colors are those of an opaque image, and transparent pixels are white."""
    image = colors.convert(mode)
    opaque = pixels(encode(image.convert("RGB"), icc_profile=P3))
    assert np.array_equal(pixels(encode(image, icc_profile=P3)), opaque)
    if mode != "P":
        image.putalpha(0)
        assert (pixels(encode(image, icc_profile=P3)) == 255).all()


def test_gray_profile_is_applied_to_gray_images() -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None].repeat(2, axis=0))
    result = pixels(encode(ramp, icc_profile=gray_profile(1.0)))[0]
    assert np.ptp(result, axis=1).max() <= 1
    assert result[128].mean() == pytest.approx(188, abs=2)  # linear 0.5
    assert result[0].tolist() == [0, 0, 0]
    assert result[255].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    "profile",
    [b"no profile", P3[:200], gray_profile(1.0), P3 + bytes(MAX_PROFILE_BYTES)],
    ids=["text", "cut", "gray", "large"],
)
def test_unfit_profile_is_ignored(colors: Image.Image, profile: bytes) -> None:
    data = encode(colors, "TIFF", icc_profile=profile)
    assert np.array_equal(pixels(data), np.asarray(colors))


@settings(max_examples=200)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(P3) - 1), st.integers(0, 255)), min_size=1, max_size=8
    )
)
def test_damaged_profile_gives_an_image(changes: list[tuple[int, int]]) -> None:
    profile = bytearray(P3)
    for place, value in changes:
        profile[place] = value
    image = Image.new("RGB", (4, 4), (200, 30, 60))
    assert pixels(encode(image, icc_profile=bytes(profile))).shape == (4, 4, 3)


def test_lab_is_converted() -> None:
    lab = Image.new("LAB", (2, 2), (138, 209, 198))  # L 54, a 81, b 70: red
    assert np.abs(pixels(encode(lab, "TIFF"))[0, 0] - (255, 0, 0)).max() <= 6


def test_pillow_images_are_converted_like_files(colors: Image.Image) -> None:
    data = encode(colors, icc_profile=P3)
    with Image.open(io.BytesIO(data)) as image:
        ((_, load),) = make_image_loaders([image])
        rgb = load().pixels
        assert rgb is not None
        assert np.array_equal(np.asarray(rgb), pixels(data))
        assert image.info["icc_profile"] == P3  # the caller's image is unchanged


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_features_of_files_with_a_profile_are_computed_again(
    colors: Image.Image, form: str
) -> None:
    # The digests of files without a profile are those of versions that ignored profiles.
    plain = encode(colors, form)
    assert hash_image(plain) == _plain_digest(plain)
    tagged = encode(colors, form, icc_profile=P3)
    assert hash_image(tagged) != _plain_digest(tagged)


def _plain_digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=20).digest()
