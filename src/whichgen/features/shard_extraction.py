"""Extract the features of a large collection shard by shard, locally or on a cluster.

Workers run only :func:`encode_shard`; one process writes the store
(:func:`~whichgen.features.extraction.write_features`). Rows are keyed by image content, so
re-encoding a shard, for example after a worker fails, adds no duplicate rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from PIL import Image

from whichgen.data.reading import decode_image, hash_image
from whichgen.data.shards import Item, Shard
from whichgen.encoders.loading import load_encoder
from whichgen.errors import EncoderError
from whichgen.features.batching import BatchEncoder
from whichgen.features.inference import EncodedBatch, ImageLoader, encode_batches
from whichgen.features.prefetch import count_threads
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


def encode_shard(
    shard: Shard, encode: BatchEncoder, *, batch_size: int, known: Container[bytes] = ()
) -> Iterator[EncodedBatch]:
    """Encode the images of a shard, except those whose key is ``known``."""

    def load(item: Item) -> tuple[bytes, Image.Image | None]:
        data = item.load()
        key = feature_key(hash_image(data))
        return key, None if key in known else decode_image(data, item.name)

    return encode_batches(shard_loaders(shard, load), encode, batch_size=batch_size)


@dataclass(frozen=True)
class EncodeJob:
    """Everything that a worker on another machine needs for :func:`encode_shard`.

    ``key`` is :attr:`~whichgen.encoders.base.Encoder.key` of the encoder that the store belongs to.
    """

    backbone: str
    device: str
    dtype: str
    key: str
    batch_size: int
    known: KeySet = field(default_factory=lambda: KeySet(()))

    def start(self) -> Callable[[Shard], Iterator[EncodedBatch]]:
        """Load the encoder on a worker.

        Raises
        ------
        EncoderError
            The worker's encoder has other weights or another preprocessing.
        """
        encoder = load_encoder(self.backbone, device=self.device, dtype=self.dtype)
        if encoder.key != self.key:
            raise EncoderError(
                f"{self.backbone} has other weights or another preprocessing on a worker than on "
                "this machine. Install the same files and versions on all machines."
            )
        return partial(
            encode_shard,
            encode=BatchEncoder(encoder, pad_to=self.batch_size),
            batch_size=self.batch_size,
            known=self.known,
        )


def shard_loaders(
    shard: Shard, load: Callable[[Item], tuple[bytes, Image.Image | None]]
) -> Iterator[ImageLoader]:
    """Read a shard for :func:`~whichgen.features.inference.encode_batches`.

    At most two images per thread are in memory before they are decoded by ``load``.
    """
    slots = threading.Semaphore(2 * count_threads())

    def load_and_release(item: Item) -> tuple[bytes, Image.Image | None]:
        try:
            return load(item)
        finally:
            slots.release()

    for item in shard.read():
        slots.acquire()
        yield item.name, partial(load_and_release, item)
