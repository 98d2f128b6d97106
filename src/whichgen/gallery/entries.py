"""The images of a gallery and their unit vectors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from whichgen.data.dataset import Sample
from whichgen.data.origins.origin_names import validate_origin_names
from whichgen.defaults import BATCH_SIZE
from whichgen.encoders.encoder import Encoder
from whichgen.errors import DataError
from whichgen.features.extraction import extract
from whichgen.features.store import FeatureStore, compute_feature_key
from whichgen.inference.similar_images import SimilaritySpace
from whichgen.io.run_metadata import hash_parts
from whichgen.progress import Progress, no_progress

#: Columns of ``entries.parquet``: path and origin of the image file, and digest of its content
#: (:func:`whichgen.data.images.decoding.hash_image`).
ENTRIES_SCHEMA = pa.schema(
    [("path", pa.large_string()), ("origin", pa.large_string()), ("digest", pa.binary(20))]
)

#: Maximum number of rows whose features are in memory at the same time.
BATCH_ROWS = 4096


@dataclass(frozen=True)
class GalleryImages:
    """The images of a gallery, without duplicates.

    Parameters
    ----------
    entries
        Arrow table with one row per image (:data:`ENTRIES_SCHEMA`).
    store
        Feature store that contains the features of the images.
    space
        Maps the head's output to unit vectors. The similarity of two images is the cosine of their
        vectors.
    skipped
        Error messages, one per image that can't be read or decoded.
    n_duplicates
        Number of files whose content is identical to that of an earlier file; they are not in
        ``entries``.
    n_conflicts
        Number of these duplicates whose origin differs from that of the first identical file.
    """

    entries: Any
    store: FeatureStore
    space: SimilaritySpace
    skipped: tuple[str, ...] = ()
    n_duplicates: int = 0
    n_conflicts: int = 0

    def __len__(self) -> int:
        return int(self.entries.num_rows)

    def take(self, rows: np.ndarray) -> GalleryImages:
        """Return a copy with only the images in the given rows, in the given order.

        Parameters
        ----------
        rows
            Row numbers, from 0: int64 array (n,).
        """
        return replace(self, entries=self.entries.take(rows))

    def compute_vectors(self, rows: np.ndarray) -> np.ndarray:
        """Compute the unit vectors of the images in the given rows.

        Parameters
        ----------
        rows
            Row numbers, from 0: int64 array (n,).

        Returns
        -------
        float32 array (n, dimension)
            One unit vector per row, in the order of ``rows``.

        Raises
        ------
        FitError
            A vector contains NaN or infinity.
        KeyError
            The features of an image are not in the store.
        StoreError
            The features can't be read.
        """
        vectors = [np.empty((0, self.space.dimension), np.float32)]
        for batch in divide_rows(rows):
            digests = self.entries["digest"].take(batch).to_pylist()
            keys = list(map(compute_feature_key, digests))
            blocks = [self.store.read(keys, block) for block in self.space.model.blocks]
            vectors.append(self.space.project(self.space.model.head.forward(np.hstack(blocks))))
        return np.concatenate(vectors)

    def compute_data_hash(self) -> str:
        """Compute a digest of the content and the origins of all images: 32 hex digits.

        The digest depends on the order of the images.
        """
        batches = self.entries.select(["digest", "origin"]).to_batches(BATCH_ROWS)
        return hash_parts(
            hash_parts(part for row in batch.to_pylist() for part in row.values())
            for batch in batches
        )


def collect_images(
    samples: Sequence[Sample],
    space: SimilaritySpace,
    encoder: Encoder,
    store: FeatureStore,
    *,
    batch_size: int = BATCH_SIZE,
    progress: Progress = no_progress,
) -> GalleryImages:
    """Add missing features of images to the store, and return the images without duplicates.

    If a call is interrupted, the next call resumes the extraction.

    Parameters
    ----------
    samples
        The image files and their origins; the origin of an unlabeled image is empty.
    space
        Similarity space of the model.
    encoder
        Encoder of the model.
    store
        Feature store of the encoder.
    batch_size
        Number of images per forward pass.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    GalleryImages
        The readable images, in input order; of several files with the same content, only the first.

    Raises
    ------
    DataError
        No image can be read, the name of an origin is invalid, or two names differ only in case or
        Unicode form (:func:`whichgen.data.origins.origin_names.validate_origin_names`).
    EncoderError, StoreError
        See :func:`whichgen.features.extraction.extract`.

    Warns
    -----
    WhichgenWarning
        Memory is insufficient for a batch; the batch size is halved.
    """
    # Images directly in the folder have no origin. The names `unknown` and `synthetic` are allowed,
    # because a gallery makes no predictions.
    validate_origin_names({s.origin for s in samples if s.origin}, reserved=())
    features = extract(samples, encoder, store, batch_size=batch_size, progress=progress)
    first_samples: dict[bytes, Sample] = {}
    n_conflicts = 0
    for sample, digest in zip(features.samples, features.digests, strict=True):
        n_conflicts += first_samples.setdefault(digest, sample).origin != sample.origin
    if not first_samples:
        reason = f": {features.skipped[0]}" if features.skipped else ""
        raise DataError(
            f"no readable image found{reason}. Choose a folder that contains readable images."
        )
    # Parquet requires valid Unicode, but file names may contain other bytes.
    paths = [os.fsencode(s.path).decode(errors="backslashreplace") for s in first_samples.values()]
    columns = [paths, [sample.origin for sample in first_samples.values()], list(first_samples)]
    entries = pa.table(columns, schema=ENTRIES_SCHEMA)
    n_duplicates = len(features.samples) - len(first_samples)
    return GalleryImages(entries, store, space, features.skipped, n_duplicates, n_conflicts)


def divide_rows(rows: np.ndarray) -> list[np.ndarray]:
    """Divide an array of row numbers into arrays of at most :data:`BATCH_ROWS` numbers."""
    return [rows[start : start + BATCH_ROWS] for start in range(0, len(rows), BATCH_ROWS)]
