"""Properties of images that affect the reliability of a prediction."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageStat

from whichgen.data.images.decoding import REPAIR_NOTE


@dataclass(frozen=True)
class ImageTraits:
    """Properties of a decoded image.

    Parameters
    ----------
    width, height
        Size in pixels, after EXIF rotation.
    contrast
        Standard deviation of the gray values, in [0, 127.5].
    repair_note
        Note that the missing end marker of a JPEG file was added
        (:func:`~whichgen.data.images.decoding.decode_image`); empty for all other files.
    """

    width: int
    height: int
    contrast: float
    repair_note: str = ""


@dataclass(frozen=True)
class TrainingSizes:
    """Sizes of the training images of a model.

    Parameters
    ----------
    shortest
        1st percentile of the shorter sides, in pixels.
    longest
        99th percentile of the longer sides, in pixels.
    """

    shortest: int
    longest: int


def read_traits(image: Image.Image) -> ImageTraits:
    """Return the properties of a decoded RGB image.

    Parameters
    ----------
    image
        Image from :func:`~whichgen.data.images.decoding.decode_image`, whose ``info`` contains the
        note about repaired damage.
    """
    contrast = ImageStat.Stat(image.convert("L")).stddev[0]
    note = str(image.info.get(REPAIR_NOTE, ""))
    return ImageTraits(image.width, image.height, float(contrast), note)
