"""Decode, preprocess and encode images in batches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from whichgen.data.images.decoding import decode_file, read_bytes
from whichgen.data.images.reliability_traits import ImageTraits, read_traits
from whichgen.data.images.rgb_conversion import to_rgb
from whichgen.defaults import BATCH_SIZE
from whichgen.encoders.devices import count_cores
from whichgen.encoders.encoder import Encoder
from whichgen.errors import ImageError, get_first_line
from whichgen.evidence.collect import collect_if_readable
from whichgen.evidence.evidence_options import EvidenceOptions
from whichgen.evidence.finding import Evidence
from whichgen.features.batching import BatchEncoder
from whichgen.io.prefetch import prefetch

#: A file path, the content of an image file, a Pillow image, or a uint8 array (h, w, 3) or (h, w).
ImageLike = str | Path | bytes | Image.Image | np.ndarray


@dataclass(frozen=True)
class LoadedImage:
    """Pixels, key, evidence and traits of an image, or the error if it can't be decoded.

    Parameters
    ----------
    pixels
        The decoded RGB image; ``None`` if the image is skipped, can't be decoded, or is already
        preprocessed.
    key
        Key of the image in a feature store; empty if the features are not stored.
    evidence
        Provenance evidence in the file; ``None`` if it was not collected or can't be read.
    error
        Error that states why the image can't be read or decoded; ``None`` if it was decoded or
        skipped.
    traits
        Size, contrast and damage of the image; ``None`` until they are measured.
    """

    pixels: Image.Image | None
    key: bytes = b""
    evidence: Evidence | None = None
    error: ImageError | None = None
    traits: ImageTraits | None = None


#: Name of an image, its :class:`LoadedImage`, and a list of the preprocessed image and its
#: preprocessed copies, which is empty if the image is unreadable or skipped.
_PreparedImage = tuple[str, LoadedImage, list[np.ndarray]]

#: Maximum number of all images in a batch divided by the maximum number of images that are not
#: skipped. Without this limit, a batch could contain a whole collection of skipped images.
_MAX_BATCH_FACTOR = 16

#: Name of an image, and a function that loads the image. If the image is unreadable, the function
#: returns a :class:`LoadedImage` with an error, or raises :class:`ImageError`.
ImageLoader = tuple[str, Callable[[], LoadedImage]]


@dataclass(frozen=True)
class EncodedBatch:
    """Features of n consecutive images; some images may be unreadable or skipped.

    Parameters
    ----------
    names, keys
        Name and key of each image in the batch: tuples of length n. A key is empty if the image is
        unreadable or its features are not stored.
    positions
        Positions (from 0) of the m encoded images in the batch, ascending.
    blocks
        Features of the encoded images and their k copies: one float32 array (m (1 + k), d_b) per
        block b. Each image is followed by its copies.
    errors
        Maps the position of each unreadable image in the batch to its error.
    evidence
        Maps the position of an image in the batch to the provenance evidence in its file. Images
        whose evidence was not collected or can't be read are missing.
    traits
        Maps the position of each encoded image in the batch to its size, contrast and damage.
    """

    names: tuple[str, ...]
    keys: tuple[bytes, ...]
    positions: tuple[int, ...]
    blocks: tuple[np.ndarray, ...]
    errors: dict[int, ImageError] = field(default_factory=dict)
    evidence: dict[int, Evidence] = field(default_factory=dict)
    traits: dict[int, ImageTraits] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)


def count_threads() -> int:
    """Return the number of threads for decoding images: two per core, at least four."""
    return max(4, 2 * count_cores())


def encode_batches(
    images: Iterable[ImageLoader],
    encode: BatchEncoder,
    *,
    batch_size: int = BATCH_SIZE,
    copies: Collection[Callable[[Image.Image], Image.Image]] = (),
) -> Iterator[EncodedBatch]:
    """Decode, preprocess and encode images batch by batch.

    A batch also contains the names of unreadable and skipped images, but not their features.
    Threads load and preprocess up to 4 batches in advance. Exceptions of ``images`` and of the
    loaders are passed on, except for :class:`ImageError`.

    Parameters
    ----------
    images
        Loaders of the images.
    encode
        Batch encoder; its encoder also preprocesses the images.
    batch_size
        Maximum number of images per batch, including copies and unreadable images, but not skipped
        images. A batch contains at least one image with all its copies, even if their number
        exceeds ``batch_size``.
    copies
        Functions, each of which makes an altered copy of an RGB image. The copies are encoded
        together with the image.

    Yields
    ------
    EncodedBatch
        Batches in the order of the images.

    Raises
    ------
    EncoderError
        A feature is not finite, memory is insufficient for a single image, or OpenVINO can't
        compile the network.
    RuntimeError
        The encoder fails for another reason.

    Warns
    -----
    WhichgenWarning
        Memory is insufficient for a batch; the batch size is halved.
    """
    encoder = encode.encoder
    n_images = max(1, batch_size // (1 + len(copies)))

    def make_input(
        pixels: Image.Image, make_copy: Callable[[Image.Image], Image.Image] | None
    ) -> np.ndarray:
        return encoder.preprocess(make_copy(pixels) if make_copy else pixels)

    def prepare(loader: ImageLoader) -> _PreparedImage:
        name, load = loader
        image = LoadedImage(None)
        try:
            image = load()
            if image.pixels is None:
                return name, image, []
            make = partial(make_input, image.pixels)
            inputs = [make(None)] if not copies else list(pool.map(make, (None, *copies)))
            image = replace(image, traits=read_traits(image.pixels))
        except ImageError as error:
            return name, replace(image, pixels=None, key=b"", error=error), []
        return name, replace(image, pixels=None), inputs  # the pixels are no longer needed

    threads = count_threads()
    # A separate pool makes the copies, so that the copies of a single image are made in parallel.
    pool = ThreadPoolExecutor(threads)
    results = prefetch(prepare, images, threads=threads, depth=4 * n_images)
    with ExitStack() as stack:
        # Do not wait for the threads, because this could deadlock (see prefetch).
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        prepared_images = stack.enter_context(closing(results))
        while batch := _take_batch(prepared_images, n_images):
            names = tuple(name for name, _, _ in batch)
            loaded_images = [image for _, image, _ in batch]
            inputs = {i: arrays for i, (_, _, arrays) in enumerate(batch) if arrays}
            rows = [(names[i], array) for i in inputs for array in inputs[i]]
            blocks = (
                encode([array for _, array in rows], [name for name, _ in rows])
                if rows
                else [np.empty((0, d), np.float32) for d in encoder.block_dims]
            )
            yield EncodedBatch(
                names,
                keys=tuple(image.key for image in loaded_images),
                positions=tuple(inputs),
                blocks=tuple(blocks),
                errors={i: image.error for i, image in enumerate(loaded_images) if image.error},
                evidence={
                    i: image.evidence for i, image in enumerate(loaded_images) if image.evidence
                },
                traits={i: image.traits for i, image in enumerate(loaded_images) if image.traits},
            )


def _take_batch(prepared_images: Iterator[_PreparedImage], n_images: int) -> list[_PreparedImage]:
    """Take images until the batch contains ``n_images`` images that are not skipped.

    The batch ends earlier if it has ``_MAX_BATCH_FACTOR * n_images`` images.
    """
    batch: list[_PreparedImage] = []
    for prepared_image in islice(prepared_images, _MAX_BATCH_FACTOR * n_images):
        batch.append(prepared_image)
        _, image, inputs = prepared_image
        n_images -= bool(inputs or image.error)
        if not n_images:
            break
    return batch


def make_image_loaders(
    images: Iterable[ImageLike], evidence: EvidenceOptions | None = None
) -> Iterator[ImageLoader]:
    """Yield a loader of each image for :func:`encode_batches`.

    If an image is a path, its name is the path. The name of any other image is ``image N``, where N
    is its position in ``images`` (from 1).

    Parameters
    ----------
    images
        The images. The loader of an object of another type raises :class:`ImageError`.
    evidence
        Options for collecting the provenance evidence of images that are given as paths or as the
        content of files; ``None`` to collect none.
    """
    for number, image in enumerate(images, start=1):
        name = str(image) if isinstance(image, str | Path) else f"image {number}"
        yield name, partial(_load_image, image, name, evidence)


def load_file(data: bytes, name: str, evidence: EvidenceOptions | None = None) -> LoadedImage:
    """Decode the content of an image file, and collect its provenance evidence.

    The evidence may be readable even if the pixels are not.

    Parameters
    ----------
    data
        Content of the file.
    name
        Name of the image, for error messages.
    evidence
        Options for collecting the evidence; ``None`` to collect none.

    Returns
    -------
    LoadedImage
        The evidence, and either the pixels or the error that states why they can't be decoded.
    """
    try:
        file = decode_file(data, name)
    except ImageError as error:
        return LoadedImage(None, evidence=collect_if_readable(data, name, evidence), error=error)
    collected_evidence = collect_if_readable(data, name, evidence, file.stored_image)
    return LoadedImage(file.pixels, evidence=collected_evidence)


def encode_images(
    images: Sequence[ImageLike], encoder: Encoder, *, batch_size: int = BATCH_SIZE
) -> list[np.ndarray]:
    """Compute the features of images from all blocks of an encoder.

    Parameters
    ----------
    images
        The images (:data:`ImageLike`).
    encoder
        Encoder that computes the features.
    batch_size
        Maximum number of images per forward pass.

    Returns
    -------
    list of float32 arrays (n, d_b), one per block b

    Raises
    ------
    ImageError
        An image can't be read or decoded, or has an unsupported type.
    EncoderError
        A feature is not finite, memory is insufficient for a single image, or OpenVINO can't
        compile the network.
    RuntimeError
        The encoder fails for another reason.

    Warns
    -----
    WhichgenWarning
        Memory is insufficient for a batch; the batch size is halved.
    """
    blocks = [[np.empty((0, d), np.float32)] for d in encoder.block_dims]
    for batch in encode_batches(
        make_image_loaders(images), BatchEncoder(encoder), batch_size=batch_size
    ):
        for error in batch.errors.values():
            raise error
        for arrays, block in zip(blocks, batch.blocks, strict=True):
            arrays.append(block)
    return [np.concatenate(arrays) for arrays in blocks]


def _load_image(image: ImageLike, name: str, evidence: EvidenceOptions | None) -> LoadedImage:
    if isinstance(image, str | Path):
        image = read_bytes(Path(image))
    if isinstance(image, bytes):
        return load_file(image, name, evidence)
    if isinstance(image, np.ndarray):
        image = _array_to_image(image, name)
    if not isinstance(image, Image.Image):
        raise ImageError(
            f"{name}: expected a path, bytes, a Pillow image or a NumPy array, got "
            f"{type(image).__name__}"
        )
    try:
        # Pillow decodes lazily, so a damaged file raises an error here.
        return LoadedImage(to_rgb(ImageOps.exif_transpose(image)))
    except Exception as error:  # Pillow raises many exception types on damaged files
        raise ImageError(
            f"{name}: can't be decoded ({get_first_line(error)}); replace it"
        ) from None


def _array_to_image(array: np.ndarray, name: str) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        raise ImageError(
            f"{name}: expected a uint8 array (h, w) or (h, w, 3), got {array.dtype} {array.shape}"
        )
    if not array.size:
        raise ImageError(f"{name}: expected at least one pixel, got an array {array.shape}")
    return Image.fromarray(array)
