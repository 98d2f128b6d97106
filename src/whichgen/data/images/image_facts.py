"""Facts about image files, such as format, size and hashes, for dataset checks and training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar

import imagehash
import numpy as np
from PIL import ImageStat
from pydantic import AfterValidator, ConfigDict

from whichgen.data.images.decoding import DecodedFile
from whichgen.data.images.jpeg_history import JpegHistory, find_jpeg_history
from whichgen.data.images.reliability_traits import ImageTraits, read_traits

#: Quantization tables of a JPEG file.
Tables = tuple[tuple[int, ...], ...]


@lru_cache(maxsize=1000)
def _share_tables(tables: Tables) -> Tables:
    """Return the same object for equal tables, to save memory: most files have the same tables."""
    return tables


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts about a readable image file.

    Parameters
    ----------
    digest
        20-byte digest of the file (:func:`whichgen.data.images.decoding.hash_image`).
    perceptual_hash
        64-bit perceptual hash (pHash; Zauner, 2010) as 8 bytes.
    file_size
        Size of the file in bytes.
    format, mode
        Format and color mode of the file, as named by Pillow.
    width, height
        Size in pixels, before EXIF rotation (TIFF: after EXIF rotation).
    has_exif, has_profile
        Whether the file has EXIF metadata (TIFF: always false), and whether it has an ICC profile.
    quantization
        Quantization tables 0 (luminance) and 1 (chrominance) of a JPEG file, 64 values each. A
        missing table is empty, and so are both tables of a file in another format.
    mean, std
        Mean and standard deviation, in [0, 255], of the red, green and blue values of the decoded
        image (:func:`whichgen.data.images.decoding.decode_image`).
    traits
        Size, contrast and repaired damage of the decoded image.
    history
        JPEG compression of the image; ``None`` if it was not examined.
    """

    digest: bytes
    perceptual_hash: bytes
    file_size: int
    format: str
    mode: str
    width: int
    height: int
    has_exif: bool
    has_profile: bool
    quantization: Annotated[Tables, AfterValidator(_share_tables)]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    traits: ImageTraits
    history: JpegHistory | None

    __pydantic_config__: ClassVar = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


def collect_facts(file: DecodedFile, digest: bytes, *, with_history: bool = False) -> ImageFacts:
    """Compute the facts about a decoded file.

    Parameters
    ----------
    file
        The decoded file.
    digest
        Digest of the file (:func:`~whichgen.data.images.decoding.hash_image`).
    with_history
        Whether to examine the JPEG compression of the image, which takes longer than decoding.
    """
    stored, pixels = file.stored_image, file.pixels
    tables = getattr(stored, "quantization", {})
    colors = ImageStat.Stat(pixels)
    return ImageFacts(
        digest=digest,
        perceptual_hash=np.packbits(imagehash.phash(pixels).hash).tobytes(),
        file_size=len(file.data),
        format=stored.format or "",
        mode=stored.mode,
        width=stored.width,
        height=stored.height,
        has_exif=any(stored.info.get(key) for key in ("exif", "Raw profile type exif")),
        has_profile=bool(stored.info.get("icc_profile")),
        quantization=_share_tables((tuple(tables.get(0, ())), tuple(tables.get(1, ())))),
        mean=tuple(colors.mean),
        std=tuple(colors.stddev),
        traits=read_traits(pixels),
        history=find_jpeg_history(file) if with_history else None,
    )
