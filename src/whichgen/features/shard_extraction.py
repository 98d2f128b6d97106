"""The features of a large collection, shard by shard: who encodes need not be who keeps.

:class:`ShardEncoder` is all that a worker does, here or on another machine; :func:`keep` is the one
writer of the store. A row's key is its image's content, so that a shard which is encoded again, as
after a worker's death, adds nothing twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import numpy as np
import torch

from whichgen.data.reading import decode_image, hash_image
from whichgen.data.shards import Item, Shard
from whichgen.encoders.base import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.errors import EncoderError, ImageError
from whichgen.features.batching import Passes
from whichgen.features.extraction import FLUSH_ROWS
from whichgen.features.prefetch import THREADS, prefetched
from whichgen.features.store import FeatureStore, feature_key
from whichgen.progress import Progress, no_progress

T = TypeVar("T")


class KeySet:
    """Keys of one length, in one sorted array: a million takes 32 MB, which processes can share."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        listed = list(keys)
        self._sorted = np.sort(np.array(listed, f"S{max(map(len, listed), default=1)}"))

    def __len__(self) -> int:
        return len(self._sorted)

    def __contains__(self, key: object) -> bool:
        place = int(np.searchsorted(self._sorted, np.array(key, "S")))
        # NumPy takes zeros at the end of bytes for padding.
        return place < len(self) and self._sorted[place] == bytes(key).rstrip(b"\0")  # type: ignore[call-overload]


@dataclass(frozen=True)
class Encoded:
    """What came of some consecutive images of a shard.

    Parameters
    ----------
    images
        How many they were: with features, known before, or unreadable.
    keys, blocks
        Of those newly encoded: their keys, and a float32 array (len(keys), d_b) for each block b.
    failed
        Why others have none, each beginning with its image's name.
    """

    images: int
    keys: tuple[bytes, ...] = ()
    blocks: tuple[np.ndarray, ...] = ()
    failed: tuple[str, ...] = ()


class ShardEncoder:
    """Encodes a shard's images, in passes of ``batch_size``.

    Parts are cut by an image's place in its shard, not by what became of it, so that a shard read
    again comes in the same parts.

    Parameters
    ----------
    known
        Keys that are not to be computed.
    threads
        That many read and decode ahead.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        known: Container[bytes] = (),
        batch_size: int = 32,
        threads: int = THREADS,
    ) -> None:
        self.encoder = encoder
        self._known = known
        self._batch_size = batch_size
        self._threads = threads
        self._passes = Passes(encoder, whole=batch_size)

    def __call__(self, shard: Shard) -> Iterator[Encoded]:
        """The shard in parts, as they are done.

        Raises
        ------
        EncoderError
            The encoder gave a value that is not finite, or lacks memory for a single image.
        """
        for part in parts(shard, self._prepare, size=self._batch_size, threads=self._threads):
            failed = tuple(str(pixels) for _, _, pixels in part if isinstance(pixels, ImageError))
            # Images of one content are one row.
            new = {key: (name, p) for key, name, p in part if isinstance(p, np.ndarray)}
            blocks: tuple[np.ndarray, ...] = ()
            if new:
                names, pixels = zip(*new.values(), strict=True)
                blocks = tuple(self._passes(pixels, names))
            yield Encoded(len(part), tuple(new), blocks, failed)

    def _prepare(self, item: Item) -> tuple[bytes, str, np.ndarray | ImageError | None]:
        try:
            data = item.load()
            key = feature_key(hash_image(data))
            if key in self._known:
                return key, item.name, None
            return key, item.name, self.encoder.preprocess(decode_image(data, item.name))
        except ImageError as error:
            return b"", item.name, error


@dataclass(frozen=True)
class EncodeJob:
    """What a worker on another machine is told: all that makes a :class:`ShardEncoder` there.

    ``key`` is the encoder's, as the store has it.
    """

    backbone: str
    device: str
    dtype: str
    key: str
    batch_size: int
    known: KeySet = field(default_factory=lambda: KeySet(()))

    def start(self, cpus: int) -> ShardEncoder:
        """Loads the encoder; :class:`~whichgen.errors.EncoderError` if it is not the same here."""
        threads = use_cpus(cpus)
        encoder = load_encoder(self.backbone, device=self.device, dtype=self.dtype)
        if encoder.key != self.key:
            raise EncoderError(
                f"{self.backbone} is another encoder on a worker than here: other weights or "
                "another preprocessing. Give all machines the same files and versions."
            )
        return ShardEncoder(encoder, known=self.known, batch_size=self.batch_size, threads=threads)


def use_cpus(cpus: int) -> int:
    """Has torch keep to so many CPUs; how many threads should read and decode beside it."""
    torch.set_num_threads(cpus)
    return max(4, 2 * cpus)


@dataclass(frozen=True)
class Kept:
    """How a collection was gone through: images seen, rows added, and why images have none."""

    images: int
    added: int
    failed: tuple[str, ...]


def keep(
    found: Iterable[Encoded],
    store: FeatureStore,
    *,
    total: int | None = None,
    progress: Progress = no_progress,
) -> Kept:
    """Writes what is found into the store, each row once; what was found is kept if this stops.

    Raises
    ------
    StoreError
        The store can't be written; what it held before is kept.
    """
    waiting: dict[bytes, tuple[np.ndarray, ...]] = {}
    failed: list[str] = []
    added = 0

    def flush() -> None:
        if waiting:
            store.add(
                list(waiting), [np.stack(rows) for rows in zip(*waiting.values(), strict=True)]
            )
            waiting.clear()

    def images() -> Iterator[int]:
        nonlocal added
        for part in found:
            for key, *rows in zip(part.keys, *part.blocks, strict=True):
                if key not in store and key not in waiting:
                    waiting[key] = tuple(rows)
                    added += 1
            failed.extend(part.failed)
            if len(waiting) >= FLUSH_ROWS:
                flush()
            yield from range(part.images)

    try:
        seen = sum(1 for _ in progress(images(), description="Extracting", total=total))
    finally:
        flush()
    return Kept(seen, added, tuple(failed))


def parts(
    shard: Shard, prepare: Callable[[Item], T], *, size: int, threads: int
) -> Iterator[list[T]]:
    """What ``prepare`` makes of a shard's images, ``size`` at a time and in their order.

    Threads prepare ahead; of images' contents, twice as many as there are threads are in memory.
    """
    room = threading.Semaphore(2 * threads)

    def jobs() -> Iterator[tuple[Item]]:
        for item in shard.read():
            room.acquire()
            yield (item,)

    def prepared(item: Item) -> T:
        try:
            return prepare(item)
        finally:
            room.release()

    found = iter(prefetched(prepared, jobs(), threads=threads, depth=4 * size))
    while part := list(islice(found, size)):
        yield part
