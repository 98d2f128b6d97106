"""Images straight to an encoder, of which nothing is kept: files, bytes, Pillow images, arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from whichgen.data.reading import decode_image, read_image, to_rgb
from whichgen.encoders.base import Encoder
from whichgen.errors import ImageError
from whichgen.features.batching import Passes
from whichgen.features.prefetch import THREADS, prefetched

#: A file, the bytes of one, a Pillow image, or a uint8 array (h, w, 3) or (h, w).
ImageLike = str | Path | bytes | Image.Image | np.ndarray


def preprocessed(
    images: Sequence[ImageLike], encoder: Encoder, *, batch_size: int = 32, threads: int = THREADS
) -> Iterator[tuple[str, np.ndarray | ImageError]]:
    """For each image its name and what the encoder takes of it, or why it can't be read.

    The name is the file's path, or ``image N`` for the Nth image that is none.
    """
    jobs = ((encoder, image, number) for number, image in enumerate(images, start=1))
    yield from prefetched(_prepare, jobs, threads=threads, depth=4 * batch_size)


def encode_images(
    images: Sequence[ImageLike], encoder: Encoder, *, batch_size: int = 32, threads: int = THREADS
) -> list[np.ndarray]:
    """The features of every block: float32 arrays (n, d_b).

    Raises
    ------
    ImageError
        An image can't be read.
    EncoderError
        The encoder gave a value that is not finite.
    """
    blocks: list[list[np.ndarray]] = [[np.empty((0, d), np.float32)] for d in encoder.block_dims]
    batch: list[tuple[str, np.ndarray]] = []
    passes = Passes(encoder)

    def run_batch() -> None:
        names, pixels = zip(*batch, strict=True)
        for found, block in zip(blocks, passes(pixels, names), strict=True):
            found.append(block)
        batch.clear()

    for name, pixels in preprocessed(images, encoder, batch_size=batch_size, threads=threads):
        if isinstance(pixels, ImageError):
            raise pixels
        batch.append((name, pixels))
        if len(batch) == batch_size:
            run_batch()
    if batch:
        run_batch()
    return [np.concatenate(found) for found in blocks]


def _prepare(
    encoder: Encoder, image: ImageLike, number: int
) -> tuple[str, np.ndarray | ImageError]:
    name = str(image) if isinstance(image, str | Path) else f"image {number}"
    try:
        return name, encoder.preprocess(_rgb(image, name))
    except ImageError as error:
        return name, error


def _rgb(image: ImageLike, name: str) -> Image.Image:
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if isinstance(image, bytes):
        return decode_image(image, name)
    if isinstance(image, Image.Image):
        try:
            # An opened file is not decoded yet: what is wrong with it shows here.
            return to_rgb(ImageOps.exif_transpose(image))
        except Exception as error:  # no list of it: see whichgen.data.reading.decode
            raise ImageError(f"{name}: damaged or truncated ({error})") from None
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"{name}: {type(image).__name__} is not a path, bytes, a Pillow image or an array"
        )
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise ImageError(
            f"{name}: an array must be uint8 (h, w) or (h, w, 3), got {image.dtype} {image.shape}"
        )
    if not image.size:
        raise ImageError(f"{name}: an array of no pixels")
    return to_rgb(Image.fromarray(image))
