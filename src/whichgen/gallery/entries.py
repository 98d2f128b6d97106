"""The images of a gallery: which they are, and the vectors they are compared by."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from whichgen.data.dataset import Sample
from whichgen.encoders.base import Encoder
from whichgen.errors import DataError
from whichgen.features.extraction import FLUSH_ROWS, extract
from whichgen.features.prefetch import THREADS
from whichgen.features.store import FeatureStore, feature_key
from whichgen.inference.neighbors import SimilaritySpace
from whichgen.progress import Progress, no_progress

#: The columns of ``entries.parquet``; ``digest`` is :func:`whichgen.data.reading.hash_image`.
ENTRIES_SCHEMA = pa.schema(
    [("path", pa.large_string()), ("origin", pa.large_string()), ("digest", pa.binary(20))]
)

#: Rows whose features are in memory at once.
STEP = 4096


@dataclass(frozen=True)
class Images:
    """The images of a gallery, each content once.

    Parameters
    ----------
    entries
        An Arrow table of :data:`ENTRIES_SCHEMA`, in memory: some hundred bytes an image.
    store
        Where their features are.
    space
        What makes vectors of features.
    skipped
        Why files are left out that can't be read.
    doubled, contradicted
        How many files are left out because one of the same content came before, and how many of
        them have another origin than that one.
    """

    entries: Any
    store: FeatureStore
    space: SimilaritySpace
    skipped: tuple[str, ...] = ()
    doubled: int = 0
    contradicted: int = 0

    def __len__(self) -> int:
        return int(self.entries.num_rows)

    def digests(self, rows: np.ndarray) -> list[bytes]:
        """The digests of some rows."""
        found: list[bytes] = self.entries["digest"].take(rows).to_pylist()
        return found

    def take(self, rows: np.ndarray) -> Images:
        """The images of some rows, in that order."""
        return replace(self, entries=self.entries.take(rows))

    def points(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of some rows: float32 array (n, dimension)."""
        space = self.space
        parts = [np.empty((0, space.dimension), np.float32)]
        for start in range(0, len(rows), STEP):
            keys = [feature_key(digest) for digest in self.digests(rows[start : start + STEP])]
            blocks = [self.store.read(keys, block) for block in space.model.blocks]
            parts.append(space.points(np.hstack(blocks)))
        return np.concatenate(parts)


def gather(
    samples: Sequence[Sample],
    space: SimilaritySpace,
    encoder: Encoder,
    store: FeatureStore,
    *,
    batch_size: int = 32,
    threads: int = THREADS,
    progress: Progress = no_progress,
) -> Images:
    """Extracts what the store lacks, some hundred images at a time; what is done stays done.

    Raises
    ------
    DataError
        No image can be read.
    EncoderError, StoreError
        See :func:`whichgen.features.extraction.extract`.
    """
    first: dict[bytes, str] = {}
    tables, skipped = [], list[str]()
    doubled = contradicted = 0
    following = iter(progress(samples, description="Reading and extracting", total=len(samples)))
    while chunk := list(islice(following, FLUSH_ROWS)):
        table = extract(chunk, encoder, store, batch_size=batch_size, threads=threads)
        skipped += table.skipped
        kept = []
        for sample, digest in zip(table.samples, table.digests, strict=True):
            if digest in first:
                doubled += 1
                contradicted += first[digest] != sample.origin
                continue
            first[digest] = sample.origin
            kept.append((_text(sample.path), sample.origin, digest))
        columns = zip(*kept, strict=True) if kept else ([], [], [])
        tables.append(pa.table([list(column) for column in columns], schema=ENTRIES_SCHEMA))
    if not first:
        reason = f", the first: {skipped[0]}" if skipped else ""
        raise DataError(f"there is no image that can be read{reason}. Give a folder of images.")
    entries = pa.concat_tables(tables).combine_chunks()
    return Images(entries, store, space, tuple(skipped), doubled, contradicted)


def steps(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Row numbers, :data:`STEP` at a time."""
    for start in range(0, len(rows), STEP):
        yield rows[start : start + STEP]


def _text(path: Path) -> str:
    """A path as Unicode: a file's name need not be any."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
