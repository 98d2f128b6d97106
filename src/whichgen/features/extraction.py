"""Extract image features into the feature store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from whichgen.data.dataset import Sample
from whichgen.data.perturbations import Perturbation
from whichgen.data.reading import decode_image, hash_image, read_bytes
from whichgen.encoders.base import Encoder
from whichgen.errors import ImageError
from whichgen.features.batching import BATCH_SIZE, BatchEncoder
from whichgen.features.inference import EncodedBatch, encode_batches
from whichgen.features.prefetch import THREADS, prefetch
from whichgen.features.store import FeatureStore, feature_key
from whichgen.features.table import FeatureTable
from whichgen.progress import Progress, no_progress

#: Rows held in memory before they are written as a segment.
FLUSH_ROWS = 512


def extract(
    samples: Sequence[Sample],
    encoder: Encoder,
    store: FeatureStore,
    *,
    perturbations: Sequence[Perturbation | None] | None = None,
    batch_size: int = BATCH_SIZE,
    threads: int = THREADS,
    progress: Progress = no_progress,
    description: str = "Extracting",
) -> FeatureTable:
    """Compute the features of images that the store lacks, and return those of all images.

    Parameters
    ----------
    samples
        The images.
    perturbations
        The perturbation of each image, ``None`` for an unchanged image; by default no image is
        perturbed.
    batch_size
        Number of images per forward pass. With the same batch size, an image always has bitwise
        identical features (:class:`~whichgen.features.batching.BatchEncoder`).
    threads
        Number of threads that read and decode.

    Returns
    -------
    FeatureTable
        One row per readable image; ``skipped`` names the others.

    Raises
    ------
    EncoderError
        A feature is not finite, or memory is insufficient for a single image.
    StoreError
        The store can't be written. Rows that were already written remain.
    """
    names = [""] * len(samples) if perturbations is None else [str(p or "") for p in perturbations]
    readable: list[int] = []
    keys: list[bytes] = []
    digests: list[bytes] = []
    skipped: list[str] = []
    results = prefetch(_digest_file, (s.path for s in samples), threads=threads, depth=64)
    for i, digest in enumerate(progress(results, description="Reading files", total=len(samples))):
        if isinstance(digest, ImageError):
            skipped.append(str(digest))
            continue
        readable.append(i)
        digests.append(digest)
        keys.append(feature_key(digest, names[i]))
    store.refresh()  # another process may have added rows meanwhile
    missing = {k: i for i, k in zip(readable, keys, strict=True) if k not in store}
    loaders = (
        (
            str(samples[i].path),
            partial(_load, key, samples[i].path, perturbations[i] if perturbations else None),
        )
        for key, i in missing.items()
    )
    summary = write_features(
        encode_batches(
            loaders,
            BatchEncoder(encoder, pad_to=batch_size),
            batch_size=batch_size,
            threads=threads,
        ),
        store,
        total=len(missing),
        progress=progress if missing else no_progress,
        description=description,
    )
    images = list(missing.items())
    # Without the path, as other files of the same content fail for the same reason.
    failed = {
        images[n][0]: str(error).removeprefix(f"{samples[images[n][1]].path}: ")
        for n, error in summary.errors.items()
    }
    rows = [j for j, key in enumerate(keys) if key not in failed]
    skipped += [
        f"{samples[readable[j]].path}: {failed[key]}" for j, key in enumerate(keys) if key in failed
    ]
    return FeatureTable(
        tuple(samples[readable[j]] for j in rows),
        tuple(keys[j] for j in rows),
        tuple(digests[j] for j in rows),
        store,
        tuple(names[readable[j]] for j in rows),
        tuple(skipped),
    )


@dataclass(frozen=True)
class ExtractionSummary:
    """The number of images read, the number of rows added, and errors by image number (from 0)."""

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
    """Write batches into the store as they come, each key once.

    If this is interrupted, the batches received so far are written. ``total`` is the number of
    images for the progress bar.

    Raises
    ------
    StoreError
        The store can't be written. Rows that were already written remain.
    """
    pending: dict[bytes, tuple[np.ndarray, ...]] = {}
    errors: dict[int, ImageError] = {}
    added = 0

    def flush() -> None:
        if pending:
            blocks = zip(*pending.values(), strict=True)
            store.add(list(pending), [np.stack(rows) for rows in blocks])
            pending.clear()

    def images() -> Iterator[int]:
        nonlocal added
        number = 0
        for batch in batches:
            for i, *rows in zip(batch.encoded, *batch.blocks, strict=True):
                key = batch.keys[i]
                if key not in store and key not in pending:
                    pending[key] = tuple(rows)
                    added += 1
            errors.update((number + i, error) for i, error in batch.errors.items())
            if len(pending) >= FLUSH_ROWS:
                flush()
            yield from range(number, number + len(batch))
            number += len(batch)

    try:
        count = sum(1 for _ in progress(images(), description=description, total=total))
    finally:
        flush()
    return ExtractionSummary(count, added, errors)


def _digest_file(path: Path) -> bytes | ImageError:
    try:
        return hash_image(read_bytes(path))
    except ImageError as error:
        return error


def _load(key: bytes, path: Path, perturbation: Perturbation | None) -> tuple[bytes, Image.Image]:
    data = read_bytes(path)
    if feature_key(hash_image(data), str(perturbation or "")) != key:
        raise ImageError(f"{path}: the file changed during extraction")
    image = decode_image(data, str(path))
    return key, perturbation(image) if perturbation else image
