"""Extract the features of a large collection shard by shard, locally or on a cluster.

Workers run only :class:`ShardEncoder`; one process writes the store
(:func:`~whichgen.features.extraction.write_features`). Rows are keyed by image content, so
re-encoding a shard, for example after a worker fails, adds no duplicate rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from PIL import Image

from whichgen.data.reading import decode_image, hash_image
from whichgen.data.shards import Item, Shard
from whichgen.encoders.base import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.errors import EncoderError
from whichgen.features.batching import BATCH_SIZE, BatchEncoder
from whichgen.features.inference import EncodedBatch, ImageLoader, encode_batches
from whichgen.features.prefetch import THREADS
from whichgen.features.store import feature_key


class KeySet:
    """A compact set of keys of one length: 32 MB per million, sent to workers as one array."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        items = list(keys)
        self._sorted = np.sort(np.array(items, f"S{max(map(len, items), default=1)}"))

    def __len__(self) -> int:
        return len(self._sorted)

    def __contains__(self, key: object) -> bool:
        position = int(np.searchsorted(self._sorted, np.array(key, "S")))
        # NumPy strips trailing zeros as padding.
        return position < len(self) and self._sorted[position] == bytes(key).rstrip(b"\0")  # type: ignore[call-overload]


class ShardEncoder:
    """Encode the images of a shard in passes of ``batch_size``.

    Parameters
    ----------
    known
        Keys of images to skip.
    threads
        Number of threads that read and decode.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        known: Container[bytes] = (),
        batch_size: int = BATCH_SIZE,
        threads: int = THREADS,
    ) -> None:
        self._known = known
        self._batch_size = batch_size
        self._threads = threads
        self._encode = BatchEncoder(encoder, pad_to=batch_size)

    def __call__(self, shard: Shard) -> Iterator[EncodedBatch]:
        """Encode one shard (:func:`~whichgen.features.inference.encode_batches`)."""
        loaders = shard_loaders(shard, self._load, threads=self._threads)
        yield from encode_batches(
            loaders, self._encode, batch_size=self._batch_size, threads=self._threads
        )

    def _load(self, item: Item) -> tuple[bytes, Image.Image | None]:
        data = item.load()
        key = feature_key(hash_image(data))
        return key, None if key in self._known else decode_image(data, item.name)


@dataclass(frozen=True)
class EncodeJob:
    """Everything that a worker on another machine needs to make a :class:`ShardEncoder`.

    ``key`` is :attr:`~whichgen.encoders.base.Encoder.key` of the encoder that the store belongs to.
    """

    backbone: str
    device: str
    dtype: str
    key: str
    batch_size: int
    known: KeySet = field(default_factory=lambda: KeySet(()))

    def start(self, cpus: int) -> ShardEncoder:
        """Load the encoder on a worker with this number of CPUs.

        Raises
        ------
        EncoderError
            The worker's encoder has other weights or another preprocessing.
        """
        threads = limit_threads(cpus)
        encoder = load_encoder(self.backbone, device=self.device, dtype=self.dtype)
        if encoder.key != self.key:
            raise EncoderError(
                f"{self.backbone} has other weights or another preprocessing on a worker than on "
                "this machine. Install the same files and versions on all machines."
            )
        return ShardEncoder(encoder, known=self.known, batch_size=self.batch_size, threads=threads)


def limit_threads(cpus: int) -> int:
    """Limit torch to this number of CPUs and return the number of decoding threads to use."""
    torch.set_num_threads(cpus)
    return max(4, 2 * cpus)


def shard_loaders(
    shard: Shard, load: Callable[[Item], tuple[bytes, Image.Image | None]], *, threads: int
) -> Iterator[ImageLoader]:
    """Read a shard for :func:`~whichgen.features.inference.encode_batches`.

    At most ``2 * threads`` images are in memory before they are decoded by ``load``.
    """
    slots = threading.Semaphore(2 * threads)

    def load_and_release(item: Item) -> tuple[bytes, Image.Image | None]:
        try:
            return load(item)
        finally:
            slots.release()

    for item in shard.read():
        slots.acquire()
        yield item.name, partial(load_and_release, item)
