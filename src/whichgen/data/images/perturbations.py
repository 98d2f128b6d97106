"""Perturb images for robustness tests.

The kinds of perturbation and their ranges follow the robustness study of the paper
(UniversalAttribution, section 4; after Yu et al., 2019):

- ``jpeg``: JPEG compression with quality 75 to 10.
- ``blur``: Gaussian blur with a kernel of 3 to 15 pixels and a sigma of 3 pixels.
- ``crop``: Center crop that removes 5 to 20 % of the width and of the height. The result is scaled
  to the original size.
- ``resize``: Scaling so that the shorter side has 128 to 1024 pixels.

``social``, which is not from the paper, simulates an upload to a social network: crop, downscaling
and JPEG compression (:data:`SOCIAL`). Each kind has five intensities (:data:`INTENSITIES`).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from whichgen.errors import DataError

#: Standard deviation of the Gaussian blur in pixels.
BLUR_SIGMA = 3.0

#: Five intensities per kind, from mild to strong. Those of ``resize`` are from small to large.
INTENSITIES: dict[str, tuple[float, ...]] = {
    "jpeg": (75, 58, 42, 26, 10),
    "blur": (3, 5, 9, 11, 15),
    "crop": (5, 8.75, 12.5, 16.25, 20),
    "resize": (128, 352, 576, 800, 1024),
    "social": (1, 2, 3, 4, 5),
}

#: Maps each intensity of ``social`` to the percentage of the width and of the height that is
#: cropped, the scale, and the JPEG quality.
SOCIAL: dict[int, tuple[float, float, int]] = {
    1: (2, 0.95, 92),
    2: (4, 0.9, 85),
    3: (6, 0.8, 77),
    4: (8, 0.7, 70),
    5: (10, 0.6, 60),
}


class _Kind(NamedTuple):
    """Kind of perturbation.

    Parameters
    ----------
    apply
        Function that returns the perturbed RGB image for an RGB image and an intensity.
    unit
        Unit of the intensity, for axis labels.
    minimum, maximum
        Smallest and largest intensity.
    step
        2 if the intensity must be an odd integer, 1 for any integer, 0 for any number.
    """

    apply: Callable[[Image.Image, float], Image.Image]
    unit: str
    minimum: int
    maximum: int
    step: int = 1


@dataclass(frozen=True)
class Perturbation:
    """Image perturbation with a kind and an intensity, such as ``jpeg:30``.

    Parameters
    ----------
    kind
        One of the keys of :data:`INTENSITIES`.
    value
        Intensity: JPEG quality (``jpeg``, 1 to 100), kernel size in pixels (``blur``, odd, 1 to
        99), percentage of the width and of the height that is cropped (``crop``, 0 to 90), length
        of the shorter side in pixels (``resize``, 8 to 8192) or level (``social``, 1 to 5). Only
        ``crop`` accepts numbers that are not integers.

    Raises
    ------
    DataError
        The kind does not exist, or does not allow the value.
    """

    kind: str
    value: float

    def __post_init__(self) -> None:
        if self.kind not in INTENSITIES:
            raise DataError(
                f"unknown perturbation {self.kind!r}. Choose from {', '.join(INTENSITIES)}."
            )
        _, _, minimum, maximum, step = _KINDS[self.kind]
        if not minimum <= self.value <= maximum or (step and (self.value - minimum) % step):
            number = ("a number", "an integer", "an odd number")[step]
            raise DataError(f"{self}: the value must be {number} from {minimum} to {maximum}.")

    def __str__(self) -> str:
        return f"{self.kind}:{self.value:.12g}"

    @property
    def unit(self) -> str:
        """Unit of ``value``, for axis labels."""
        return _KINDS[self.kind].unit

    def __call__(self, image: Image.Image) -> Image.Image:
        """Apply the perturbation to an RGB image and return a new image."""
        return _KINDS[self.kind].apply(image, self.value)


def parse_perturbation(text: str) -> Perturbation:
    """Parse a perturbation in the form ``kind:value`` or ``kind``, such as ``jpeg:30``.

    Without a value, the third of the five :data:`INTENSITIES` is used.

    Raises
    ------
    DataError
        The text has another form, the kind does not exist, or the value is not allowed.
    """
    kind, colon, value = text.partition(":")
    try:
        return Perturbation(kind, float(value) if colon else INTENSITIES[kind][2])
    except (ValueError, KeyError):
        raise DataError(
            f"invalid perturbation {text!r}. Use KIND or KIND:VALUE, such as jpeg:30. "
            f"Choose KIND from {', '.join(INTENSITIES)}."
        ) from None


def list_perturbations(kinds: Iterable[str] = tuple(INTENSITIES)) -> list[Perturbation]:
    """Return each kind of perturbation at each of its five :data:`INTENSITIES`.

    Parameters
    ----------
    kinds
        Keys of :data:`INTENSITIES`.

    Raises
    ------
    KeyError
        A kind does not exist.
    """
    return [Perturbation(kind, value) for kind in kinds for value in INTENSITIES[kind]]


def _compress(image: Image.Image, quality: float) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=int(quality))
    return Image.open(buffer).convert("RGB")


def _blur(image: Image.Image, kernel: float) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float32)
    radius = int(kernel) // 2
    pixels = gaussian_filter(pixels, BLUR_SIGMA, mode="mirror", radius=radius, axes=(0, 1))
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _crop(image: Image.Image, percent: float, size: tuple[int, int] | None = None) -> Image.Image:
    width, height = image.size
    margin_x, margin_y = width * percent / 200, height * percent / 200
    box = (margin_x, margin_y, width - margin_x, height - margin_y)
    return image.resize(size or image.size, Image.Resampling.BICUBIC, box=box)


def _resize(image: Image.Image, side: float) -> Image.Image:
    scale = side / min(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _simulate_upload(image: Image.Image, level: float) -> Image.Image:
    percent, scale, quality = SOCIAL[int(level)]
    total_scale = (1 - percent / 100) * scale
    size = (max(1, round(image.width * total_scale)), max(1, round(image.height * total_scale)))
    return _compress(_crop(image, percent, size), quality)


_KINDS = {
    "jpeg": _Kind(_compress, "quality", 1, 100),
    "blur": _Kind(_blur, "kernel (px)", 1, 99, step=2),
    "crop": _Kind(_crop, "% of each side", 0, 90, step=0),
    "resize": _Kind(_resize, "side (px)", 8, 8192),
    "social": _Kind(_simulate_upload, "level", 1, len(SOCIAL)),
}
