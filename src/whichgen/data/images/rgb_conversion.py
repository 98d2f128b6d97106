"""Convert decoded images of any color mode and color profile to 8-bit sRGB."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

#: Maximum size of a color profile in bytes; larger profiles are ignored. The largest profiles in
#: use, those of printers, have about 3 MB.
MAX_PROFILE_BYTES = 4 * 2**20

#: Maximum change of 8-bit color values, on a coarse grid of colors, by a profile that counts as
#: sRGB. Most profiles are variants of sRGB that differ by rounding.
_MAX_SRGB_DEVIATION = 2

#: Maps each color mode of an image to the color space of a suitable profile.
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}

#: ICC device classes of profiles for images: input, display, output and color space.
_CLASSES = ("scnr", "mntr", "prtr", "spac")

_SRGB = ImageCms.createProfile("sRGB")
_LAB = ImageCms.createProfile("LAB")


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a decoded Pillow image to 8-bit sRGB.

    An ICC profile is applied with perceptual intent, unless it is damaged, has more than
    :data:`MAX_PROFILE_BYTES` bytes, does not match the mode, or equals sRGB up to rounding. The PNG
    chunks ``gAMA`` and ``cICP``, and the profiles of images of mode ``LAB``, are ignored. The
    result is a new image without a color profile.

    Transparent pixels are composited on white. In gray images with more than 8 bits, profile and
    transparency are ignored, and values are scaled so that white becomes 255. White is 65535 for
    the modes ``I;16…``. For the modes ``I`` and ``F``, white is the smallest of 1, 255 and 65535
    that no pixel exceeds. However, if an image of mode ``F`` has a median of at most 1 and values
    that are not integers, white is 1, and highlights above 1 become white. Negative values become
    black.

    Raises
    ------
    ValueError
        A value of an image of mode ``I`` or ``F`` exceeds 65535 or is NaN.
    """
    if image.mode.startswith("I;16"):
        return _gray_to_rgb(image, white=65535.0)
    if image.mode in ("I", "F"):
        return _gray_to_rgb(image, _find_white(image))
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        if image.info.get("icc_profile"):
            rgb = _apply_profile(rgba.convert("RGB"), image)
            rgba = Image.merge("RGBA", (*rgb.split(), rgba.getchannel("A")))
        background = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(background, rgba).convert("RGB")
    if image.mode == "LAB":
        transform = ImageCms.buildTransform(_LAB, _SRGB, "LAB", "RGB")
        return _remove_profile(ImageCms.applyTransform(image, transform) or image)
    pixels = image if image.mode in _SPACES else image.convert("RGB")
    return _remove_profile(_apply_profile(pixels, image).convert("RGB"))


def _remove_profile(image: Image.Image) -> Image.Image:
    # Pillow would embed the profile in a JPEG copy, and reading the copy would apply it again.
    image.info.pop("icc_profile", None)
    return image


def _apply_profile(pixels: Image.Image, image: Image.Image) -> Image.Image:
    """Convert pixels to sRGB with the profile of ``image``, if the profile is usable."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not profile or len(profile) > MAX_PROFILE_BYTES:
        return pixels
    space = _read_space(profile)
    if space == "RGB" and pixels.mode == "L":
        pixels = pixels.convert("RGB")
    if space != _SPACES[pixels.mode]:
        return pixels
    transform = _build_transform(profile, pixels.mode)
    return (transform and ImageCms.applyTransform(pixels, transform)) or pixels


def _read_space(profile: bytes) -> str:
    """Return the color space of a profile.

    The string is empty if the profile is damaged or is not a profile for images.
    """
    try:
        header = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
        return header.xcolor_space.strip() if header.device_class in _CLASSES else ""
    except Exception:  # Pillow raises many exception types on damaged profiles
        return ""


@lru_cache(maxsize=16)
def _build_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB; ``None`` if the profile is sRGB or damaged."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, _SRGB, mode, "RGB")
        grid = _make_color_grid(mode)
        converted_grid = ImageCms.applyTransform(grid, transform)
    except Exception:  # Pillow raises many exception types on damaged profiles
        return None
    if mode == "CMYK":
        return transform
    change = np.asarray(converted_grid).astype(np.int16) - np.asarray(grid.convert("RGB"), np.int16)
    return transform if np.abs(change).max() > _MAX_SRGB_DEVIATION else None


def _make_color_grid(mode: str) -> Image.Image:
    """Return an image of one row with evenly spaced colors of a color mode."""
    levels = np.linspace(0, 255, 9 if mode == "RGB" else 3).round().astype(np.uint8)
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    channels = len(Image.new(mode, (1, 1)).getbands())
    colors = np.stack(np.meshgrid(*[levels] * channels), axis=-1).reshape(1, -1, channels)
    return Image.frombytes(mode, (colors.shape[1], 1), np.ascontiguousarray(colors).tobytes())


def _find_white(image: Image.Image) -> float:
    """Return the value of white (1, 255 or 65535) in an image of mode ``I`` or ``F``.

    The rule is stated in :func:`to_rgb`.

    Raises
    ------
    ValueError
        A value exceeds 65535 or is NaN.
    """
    values = np.asarray(image, dtype=np.float64)
    brightest = float(values.max(initial=0.0))
    white = next((w for w in (1.0, 255.0, 65535.0) if brightest <= w), None)
    if white is None:  # also for NaN
        raise ValueError("gray values are above 65535 or NaN")
    if image.mode == "F" and _has_unit_range(values):
        return 1.0
    return white


def _has_unit_range(values: np.ndarray) -> bool:
    """Return whether the values have the range [0, 1], except for highlights above 1.

    This is assumed if the median is at most 1 and some values are not integers. Images with a high
    dynamic range have highlights above 1.
    """
    return bool(np.median(values) <= 1 and (values != np.rint(values)).any())


def _gray_to_rgb(image: Image.Image, white: float) -> Image.Image:
    # Pillow would clip values above 255, and almost all pixels of a 16-bit image would be white.
    values = np.array(image, dtype=np.float64)
    values *= 255.0 / white  # in place, because the largest image takes more than a gigabyte
    np.clip(np.rint(values, out=values), 0, 255, out=values)
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")
