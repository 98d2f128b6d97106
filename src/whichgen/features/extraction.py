"""Extract image features into the feature store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from whichgen.data.dataset import Sample
from whichgen.data.images.perturbations import Perturbation
from whichgen.data.images.reading import decode_image, hash_image, read_bytes
from whichgen.defaults import BATCH_SIZE
from whichgen.encoders.base import Encoder
from whichgen.errors import ImageError
from whichgen.features.batching import BatchEncoder
from whichgen.features.inference import EncodedBatch, LoadedImage, encode_batches
from whichgen.features.prefetch import count_threads, prefetch
from whichgen.features.store import FeatureStore, feature_key
from whichgen.features.table import FeatureTable
from whichgen.progress import Progress, no_progress

#: Number of feature rows to collect in memory before they are written to the store.
FLUSH_ROWS = 512


def extract(
    samples: Sequence[Sample],
    encoder: Encoder,
    store: FeatureStore,
    *,
    perturbations: Sequence[Perturbation | None] | None = None,
    batch_size: int = BATCH_SIZE,
    progress: Progress = no_progress,
    description: str = "Extracting",
) -> FeatureTable:
    """Extract the features that the store lacks into it, and return a table of readable images.

    Parameters
    ----------
    samples
        The images.
    encoder
        Encoder that computes the features.
    store
        Feature store of this encoder.
    perturbations
        Perturbation of each image, or ``None`` for the original image. By default, no image is
        perturbed.
    batch_size
        Number of images per forward pass. On one device, the features of an image are bitwise
        reproducible with the same batch size (:class:`~whichgen.features.batching.BatchEncoder`).
    progress
        Progress display.
    description
        Label of the progress bar.

    Returns
    -------
    FeatureTable
        One row per readable image, in the order of ``samples``. ``skipped`` contains the error
        messages of the unreadable images.

    Raises
    ------
    EncoderError
        A feature is not finite, or memory is insufficient for a single image.
    StoreError
        The store can't be read or written. Rows written before the error remain in the store.
    """
    images = []
    skipped = []
    paths = (sample.path for sample in samples)
    digests = prefetch(_digest_file, paths, threads=count_threads(), depth=64)
    for sample, perturbation, digest in zip(
        samples,
        perturbations or [None] * len(samples),
        progress(digests, description="Reading files", total=len(samples)),
        strict=True,
    ):
        if isinstance(digest, ImageError):
            skipped.append(str(digest))
        else:
            images.append(_PerturbedImage(sample, perturbation, digest))
    store.refresh()  # another process may have added rows meanwhile
    missing = {image.key: image for image in images if image.key not in store}
    loaders = ((str(image.sample.path), image.load) for image in missing.values())
    summary = write_features(
        encode_batches(loaders, BatchEncoder(encoder, pad_to=batch_size), batch_size=batch_size),
        store,
        total=len(missing),
        progress=progress if missing else no_progress,
        description=description,
    )
    keys = list(missing)
    failed = {keys[number]: error for number, error in summary.errors.items()}
    for image in images:
        if image.key in failed:
            # Other files of the same content fail for the same reason.
            path = str(missing[image.key].sample.path)
            skipped.append(str(failed[image.key]).replace(path, str(image.sample.path), 1))
    images = [image for image in images if image.key not in failed]
    return FeatureTable(
        tuple(image.sample for image in images),
        tuple(image.key for image in images),
        tuple(image.digest for image in images),
        store,
        tuple(str(image.perturbation or "") for image in images),
        tuple(skipped),
    )


@dataclass(frozen=True)
class _PerturbedImage:
    """An image file, the perturbation to apply to it, and the digest of the file's content."""

    sample: Sample
    perturbation: Perturbation | None
    digest: bytes

    @cached_property
    def key(self) -> bytes:
        """Key in the feature store (:func:`~whichgen.features.store.feature_key`)."""
        return feature_key(self.digest, str(self.perturbation or ""))

    def load(self) -> LoadedImage:
        """Read the image, apply its perturbation, and return the result with its key.

        Raises
        ------
        ImageError
            The file can't be read or decoded, or its content has changed since it was hashed.
        """
        path = self.sample.path
        data = read_bytes(path)
        if hash_image(data) != self.digest:
            raise ImageError(f"{path}: the file changed during extraction. Run the command again.")
        image = decode_image(data, str(path))
        return LoadedImage(self.perturbation(image) if self.perturbation else image, self.key)


@dataclass(frozen=True)
class ExtractionSummary:
    """Numbers of images and rows, and errors, of a call to :func:`write_features`.

    Parameters
    ----------
    images
        Number of images, including unreadable ones.
    added
        Number of rows added to the store.
    errors
        Maps the position (from 0) of each unreadable image to its error.
    """

    images: int
    added: int
    errors: dict[int, ImageError]


def write_features(
    batches: Iterable[EncodedBatch],
    store: FeatureStore,
    *,
    total: int | None = None,
    progress: Progress = no_progress,
    description: str = "Extracting",
) -> ExtractionSummary:
    """Write the features of encoded batches to the store, except for keys that it contains.

    If an exception or Ctrl-C stops this function, the batches received so far are still written.

    Parameters
    ----------
    batches
        The encoded batches.
    store
        Feature store of the encoder.
    total
        Number of images, for the progress bar.
    progress
        Progress display.
    description
        Label of the progress bar.

    Returns
    -------
    ExtractionSummary
        The numbers of images and added rows, and the errors of the unreadable images.

    Raises
    ------
    StoreError
        The store can't be written. Rows written before the error remain in the store.
    """
    pending: dict[bytes, tuple[np.ndarray, ...]] = {}
    rows_before = len(store)

    def flush() -> None:
        if pending:
            blocks = zip(*pending.values(), strict=True)
            store.add(list(pending), [np.stack(rows) for rows in blocks])
            pending.clear()

    def write_batches() -> Iterator[ImageError | None]:
        """Collect and write rows; yield the error of each image, or ``None`` if it is readable."""
        for batch in batches:
            for i, *rows in zip(batch.positions, *batch.blocks, strict=True):
                if batch.keys[i] not in store:
                    pending.setdefault(batch.keys[i], tuple(rows))
            if len(pending) >= FLUSH_ROWS:
                flush()
            yield from map(batch.errors.get, range(len(batch)))

    try:
        results = list(progress(write_batches(), description=description, total=total))
    finally:
        flush()
    errors = {i: error for i, error in enumerate(results) if error}
    return ExtractionSummary(len(results), len(store) - rows_before, errors)


def _digest_file(path: Path) -> bytes | ImageError:
    try:
        return hash_image(read_bytes(path))
    except ImageError as error:
        return error
