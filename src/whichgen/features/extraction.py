"""From image files to rows of the feature store: decode once, encode once, keep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whichgen.data.dataset import Sample
from whichgen.data.perturbations import Perturbation
from whichgen.data.reading import decode_image, hash_image, read_bytes
from whichgen.encoders.base import Encoder
from whichgen.errors import ImageError
from whichgen.features.batching import Passes
from whichgen.features.prefetch import THREADS, prefetched
from whichgen.features.store import FeatureStore, feature_key
from whichgen.progress import Progress, no_progress

#: Rows held in memory before they are written as a segment.
FLUSH_ROWS = 512


@dataclass(frozen=True)
class FeatureTable:
    """The features of a list of images, read from the store block by block.

    ``samples`` are the readable ones, in the order given; ``skipped`` the reasons why others are
    missing. ``digests`` identify the images by content. ``perturbations`` name what each image went
    through (empty: nothing).
    """

    samples: tuple[Sample, ...]
    keys: tuple[bytes, ...]
    digests: tuple[bytes, ...]
    store: FeatureStore
    perturbations: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def block(self, block: int) -> np.ndarray:
        """Features after one block: float32 array (n, d_block)."""
        return self.store.read(self.keys, block)

    def blocks(self, blocks: Sequence[int]) -> np.ndarray:
        """Features of several blocks side by side: float32 array (n, sum of d_block)."""
        return np.hstack([self.block(b) for b in blocks])

    @property
    def origins(self) -> np.ndarray:
        """The origin of each image: a str array (n,)."""
        return np.array([s.origin for s in self.samples], dtype=str)

    @property
    def kinds(self) -> np.ndarray:
        """The kind of perturbation that each image went through (empty: none): str array (n,)."""
        return np.array([p.partition(":")[0] for p in self.perturbations], dtype=str)

    @property
    def groups(self) -> np.ndarray | None:
        """The group of each image, a str array (n,); ``None`` if any is not known."""
        names = [s.group for s in self.samples]
        return np.array(names, dtype=str) if all(names) else None

    def take(self, rows: Sequence[int] | np.ndarray) -> FeatureTable:
        """The table of some rows."""
        return FeatureTable(
            tuple(self.samples[i] for i in rows),
            tuple(self.keys[i] for i in rows),
            tuple(self.digests[i] for i in rows),
            self.store,
            tuple(self.perturbations[i] for i in rows),
        )

    def __add__(self, other: FeatureTable) -> FeatureTable:
        return FeatureTable(
            self.samples + other.samples,
            self.keys + other.keys,
            self.digests + other.digests,
            self.store,
            self.perturbations + other.perturbations,
            self.skipped + other.skipped,
        )


def extract(
    samples: Sequence[Sample],
    encoder: Encoder,
    store: FeatureStore,
    *,
    perturbations: Sequence[Perturbation | None] | None = None,
    batch_size: int = 32,
    threads: int = THREADS,
    progress: Progress = no_progress,
    description: str = "Extracting",
) -> FeatureTable:
    """The features of images; only what the store lacks is computed.

    Parameters
    ----------
    samples
        The images.
    perturbations
        One for each sample (``None``: the image as it is); left out: none at all.
    batch_size, threads
        Images a forward pass, and threads that read and decode. With one batch size an image's
        features are the same bytes whatever else is extracted (:class:`Passes`).

    Returns
    -------
    FeatureTable
        One row for each readable image. Unreadable ones are in ``skipped``.

    Raises
    ------
    EncoderError
        The encoder gave a value that is not finite.
    StoreError
        The store can't be written; what it held before is kept.
    """
    applied = list(perturbations) if perturbations is not None else [None] * len(samples)
    kept: list[int] = []
    keys: list[bytes] = []
    digests: list[bytes] = []
    skipped: list[str] = []
    found = prefetched(_digest, ((s.path,) for s in samples), threads=threads, depth=64)
    for i, digest in enumerate(progress(found, description="Reading files", total=len(samples))):
        if isinstance(digest, ImageError):
            skipped.append(str(digest))
            continue
        kept.append(i)
        digests.append(digest)
        keys.append(feature_key(digest, str(applied[i] or "")))
    store.refresh()  # what another process wrote meanwhile need not be computed again
    missing = {k: i for i, k in zip(kept, keys, strict=True) if k not in store}
    failed: dict[bytes, str] = {}
    if missing:
        jobs = ((key, samples[i].path, applied[i], encoder) for key, i in missing.items())
        prepared = prefetched(_prepare, jobs, threads=threads, depth=4 * batch_size)
        done = progress(prepared, description=description, total=len(missing))
        failed = _encode(done, encoder, store, batch_size)
    rows = [j for j, key in enumerate(keys) if key not in failed]
    skipped += [
        f"{samples[kept[j]].path}: {failed[key]}" for j, key in enumerate(keys) if key in failed
    ]
    return FeatureTable(
        tuple(samples[kept[j]] for j in rows),
        tuple(keys[j] for j in rows),
        tuple(digests[j] for j in rows),
        store,
        tuple(str(applied[kept[j]] or "") for j in rows),
        tuple(skipped),
    )


def _digest(path: Path) -> bytes | ImageError:
    try:
        return hash_image(read_bytes(path))
    except ImageError as error:
        return error


def _prepare(
    key: bytes, path: Path, perturbation: Perturbation | None, encoder: Encoder
) -> tuple[bytes, Path, np.ndarray | ImageError]:
    try:
        data = read_bytes(path)
        if feature_key(hash_image(data), str(perturbation or "")) != key:
            raise ImageError(f"{path}: changed while it was read")
        image = decode_image(data, str(path))
    except ImageError as error:
        return key, path, error
    return key, path, encoder.preprocess(perturbation(image) if perturbation else image)


def _encode(
    prepared: Iterable[tuple[bytes, Path, np.ndarray | ImageError]],
    encoder: Encoder,
    store: FeatureStore,
    batch_size: int,
) -> dict[bytes, str]:
    """Encodes and stores; what was computed is kept even if this is interrupted."""
    failed: dict[bytes, str] = {}
    # A batch's keys and features go in together: Ctrl-C can not part them.
    computed: list[tuple[list[bytes], list[np.ndarray]]] = []
    batch: list[tuple[bytes, Path, np.ndarray]] = []
    passes = Passes(encoder, whole=batch_size)

    def run_batch() -> None:
        if not batch:
            return
        blocks = passes([pixels for _, _, pixels in batch], [str(path) for _, path, _ in batch])
        computed.append(([key for key, _, _ in batch], blocks))
        batch.clear()

    def flush() -> None:
        if computed:
            keys = [key for batch_keys, _ in computed for key in batch_keys]
            parts = zip(*(blocks for _, blocks in computed), strict=True)
            store.add(keys, [np.concatenate(part) for part in parts])
            computed.clear()

    try:
        for key, path, pixels in prepared:
            if isinstance(pixels, ImageError):
                # The reason alone: files of the same content fail alike.
                failed[key] = str(pixels).removeprefix(f"{path}: ")
                continue
            batch.append((key, path, pixels))
            if len(batch) == batch_size:
                run_batch()
            if sum(len(keys) for keys, _ in computed) >= FLUSH_ROWS:
                flush()
        run_batch()
    finally:
        flush()
    return failed
