"""Extract image features into the feature store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from whichgen.data.dataset import Sample
from whichgen.data.images.decoding import decode_file
from whichgen.data.images.image_reader import ImageReader
from whichgen.data.images.perturbations import Perturbation
from whichgen.defaults import BATCH_SIZE
from whichgen.encoders.encoder import Encoder
from whichgen.errors import ImageError
from whichgen.features.batching import BatchEncoder
from whichgen.features.image_encoding import EncodedBatch, LoadedImage, encode_batches
from whichgen.features.store import FeatureStore, compute_feature_key
from whichgen.features.table import FeatureTable
from whichgen.progress import Progress, no_progress

#: Number of feature rows to collect in memory before they are written to the store.
FLUSH_ROWS = 512

#: An image and its perturbation, or ``None`` for the original image.
PerturbedSample = tuple[Sample, Perturbation | None]


def extract(
    samples: Sequence[Sample],
    encoder: Encoder,
    store: FeatureStore,
    *,
    perturbations: Sequence[Perturbation | None] | None = None,
    reader: ImageReader | None = None,
    batch_size: int = BATCH_SIZE,
    progress: Progress = no_progress,
    description: str = "Extracting",
) -> FeatureTable:
    """Add missing features of images to the store, and return a table of the readable images.

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
    reader
        Reader that remembers the digests of files, and collects facts about the original images
        that are decoded. A file whose digest it knows is read only if its features are missing. By
        default, all files are read, and no facts are collected.
    batch_size
        Number of images per forward pass. On one device, the features of an image are bitwise
        reproducible with the same batch size (:class:`~whichgen.features.batching.BatchEncoder`).
    progress
        Progress bar (:data:`whichgen.progress.Progress`).
    description
        Label of the progress bar.

    Returns
    -------
    FeatureTable
        One row per readable image, in the order of ``samples``. ``skipped`` contains the error
        messages of the unreadable images.

    Raises
    ------
    EncoderError, StoreError
        See :func:`extract_tables`.
    ValueError
        ``perturbations`` is not empty and has another length than ``samples``.

    Warns
    -----
    WhichgenWarning
        See :func:`extract_tables`.
    """
    all_perturbations = perturbations or [None] * len(samples)
    (table,) = extract_tables(
        [list(zip(samples, all_perturbations, strict=True))],
        encoder,
        store,
        reader=reader,
        batch_size=batch_size,
        progress=progress,
        description=description,
    )
    return table


def extract_tables(
    parts: Sequence[Sequence[PerturbedSample]],
    encoder: Encoder,
    store: FeatureStore,
    *,
    reader: ImageReader | None = None,
    batch_size: int = BATCH_SIZE,
    progress: Progress = no_progress,
    description: str = "Extracting",
) -> list[FeatureTable]:
    """Extract the features of several lists of images in one pass, and return one table per list.

    An image is decoded only if its features are missing. Of several files with the same content and
    perturbation, only one is decoded.

    Parameters
    ----------
    parts
        The lists of images, each with its perturbation, or ``None`` for the original image.
    encoder, store, reader, batch_size, progress, description
        See :func:`extract`.

    Returns
    -------
    list of FeatureTable
        One table per list in ``parts``; see :func:`extract`.

    Raises
    ------
    EncoderError
        A feature is not finite, memory is insufficient for a single image, or OpenVINO can't
        compile the network.
    StoreError
        The feature store or the store of facts can't be read or written. Rows written before the
        error remain in the store.

    Warns
    -----
    WhichgenWarning
        Memory is insufficient for a batch; the batch size is halved.
    """
    files, with_facts = reader or ImageReader(), reader is not None
    samples = [sample for part in parts for sample, _ in part]
    perturbations = [perturbation for part in parts for _, perturbation in part]
    digests, keys = [b""] * len(samples), [b""] * len(samples)
    first: dict[bytes, int] = {}  # position of the first image with each key
    store.refresh()  # another process may have added rows meanwhile

    def is_complete(i: int, digest: bytes) -> bool:
        digests[i], keys[i] = digest, compute_feature_key(digest, str(perturbations[i] or ""))
        return keys[i] in store or first.setdefault(keys[i], i) != i

    def load(i: int) -> LoadedImage:
        path, perturbation = samples[i].path, perturbations[i]
        digest = files.find_digest(path)
        if digest is None or not is_complete(i, digest):
            data, digest = files.read_file(path)
            if not is_complete(i, digest):
                file = decode_file(data, str(path))
                if with_facts and perturbation is None:
                    files.add(file, digest)
                pixels = perturbation(file.pixels) if perturbation else file.pixels
                return LoadedImage(pixels, keys[i])
        return LoadedImage(None, keys[i])

    try:
        errors = write_features(
            encode_batches(
                ((str(sample.path), partial(load, i)) for i, sample in enumerate(samples)),
                BatchEncoder(encoder, pad_to=batch_size),
                batch_size=batch_size,
            ),
            store,
            total=len(samples),
            progress=progress,
            description=description,
        ).errors
    finally:
        files.store.flush()
    for i, key in enumerate(keys):
        if i not in errors and key not in store:
            # Files of the same content fail for the same reason.
            path = str(samples[first[key]].path)
            message = (
                f"{path}: a file with the same content changed during extraction. Run the command "
                "again."
            )
            reason = str(errors.get(first[key], message))
            errors[i] = ImageError(reason.replace(path, str(samples[i].path), 1))

    def make_table(numbers: range) -> FeatureTable:
        rows = [i for i in numbers if i not in errors]
        return FeatureTable(
            tuple(samples[i] for i in rows),
            tuple(keys[i] for i in rows),
            tuple(digests[i] for i in rows),
            store,
            tuple(str(perturbations[i] or "") for i in rows),
            tuple(str(errors[i]) for i in numbers if i in errors),
        )

    ends = [0, *accumulate(map(len, parts))]
    return [make_table(range(*bounds)) for bounds in pairwise(ends)]


class EncodingReader(ImageReader):
    """Image reader that also extracts the features of the images, in the same pass.

    :meth:`read` can also raise the errors of ``open_encoder`` and of :func:`extract`. Set
    :attr:`only_facts` to ``True`` to stop extracting features.

    Parameters
    ----------
    cache
        See :class:`~whichgen.data.images.image_reader.ImageReader`.
    open_encoder
        Function that returns the encoder and its feature store. It is called when images are read
        and their features are needed.
    needs_features
        Function that returns whether the features of all or nearly all images in a sequence are
        needed. If they are not, only facts about the images
        (:class:`~whichgen.data.images.image_facts.ImageFacts`) are collected.
    batch_size
        See :func:`extract`.

    Raises
    ------
    StoreError
        The stored facts can't be read, or the cache folder can't be created.

    Warns
    -----
    WhichgenWarning
        See :class:`~whichgen.data.images.image_reader.ImageReader`.
    """

    def __init__(
        self,
        cache: Path,
        open_encoder: Callable[[], tuple[Encoder, FeatureStore]],
        needs_features: Callable[[Sequence[Sample]], bool],
        *,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        super().__init__(cache)
        self._open_encoder = open_encoder
        self._needs_features = needs_features
        self._batch_size = batch_size
        self.only_facts = False

    def _examine(
        self, samples: Sequence[Sample], with_history: bool, progress: Progress
    ) -> list[bytes | ImageError]:
        if self.only_facts or not self._needs_features(samples):
            return super()._examine(samples, with_history, progress)
        encoder, store = self._open_encoder()
        extract(
            samples,
            encoder,
            store,
            reader=self,
            batch_size=self._batch_size,
            progress=progress,
            description="Features of all splits",
        )
        return super()._examine(samples, with_history, progress)


@dataclass(frozen=True)
class ExtractionSummary:
    """Result of :func:`write_features`: numbers of images and new rows, and errors.

    Parameters
    ----------
    n_images
        Number of images, including unreadable and skipped images.
    n_added_rows
        Number of rows added to the store.
    errors
        Maps the position (from 0) of each unreadable image to its error.
    """

    n_images: int
    n_added_rows: int
    errors: dict[int, ImageError]


def write_features(
    batches: Iterable[EncodedBatch],
    store: FeatureStore,
    *,
    total: int | None = None,
    progress: Progress = no_progress,
    description: str = "Extracting",
) -> ExtractionSummary:
    """Write the features of encoded batches to the store; skip features that it already contains.

    If an exception or Ctrl-C stops this function, the batches received so far are still written.
    Exceptions that ``batches`` raises are passed on.

    Parameters
    ----------
    batches
        The encoded batches, without copies of images.
    store
        Feature store of the encoder.
    total
        Number of images, for the progress bar; ``None`` if unknown.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).
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
    pending_rows: dict[bytes, tuple[np.ndarray, ...]] = {}
    rows_before = len(store)

    def flush() -> None:
        if pending_rows:
            blocks = zip(*pending_rows.values(), strict=True)
            store.add(list(pending_rows), [np.stack(rows) for rows in blocks])
            pending_rows.clear()

    def write_batches() -> Iterator[ImageError | None]:
        """Collect and write rows; yield the error of each image, or ``None`` if it is readable."""
        for batch in batches:
            for i, *rows in zip(batch.positions, *batch.blocks, strict=True):
                if batch.keys[i] not in store:
                    pending_rows.setdefault(batch.keys[i], tuple(rows))
            if len(pending_rows) >= FLUSH_ROWS:
                flush()
            yield from map(batch.errors.get, range(len(batch)))

    try:
        results = list(progress(write_batches(), description=description, total=total))
    finally:
        flush()
    errors = {i: error for i, error in enumerate(results) if error}
    return ExtractionSummary(len(results), len(store) - rows_before, errors)
