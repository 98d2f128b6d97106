"""Extract the features of a large collection shard by shard, locally or on a cluster.

Workers only encode images (:func:`encode_shard`); one process writes the store
(:func:`~whichgen.features.extraction.write_features`). Rows are keyed by image content, so
re-encoding a shard, for example after a worker fails, adds no duplicate rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from whichgen.data.images.decoding import decode_image, hash_image
from whichgen.data.shards.find_shards import Item, Shard
from whichgen.encoders.loading import load_encoder
from whichgen.errors import EncoderError
from whichgen.features.batching import BatchEncoder
from whichgen.features.image_encoding import (
    EncodedBatch,
    ImageLoader,
    LoadedImage,
    count_threads,
    encode_batches,
)
from whichgen.features.store import compute_feature_key


class KeySet:
    """Set of keys of equal length, stored as a sorted array to save memory.

    A million keys of 32 bytes take 31 MiB.

    Parameters
    ----------
    keys
        The keys; duplicates are allowed.
    """

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
    shard: Shard, encode: BatchEncoder, *, batch_size: int, keys_to_skip: Container[bytes] = ()
) -> Iterator[EncodedBatch]:
    """Encode the images of a shard in batches; skip images whose keys are in ``keys_to_skip``.

    Parameters
    ----------
    shard
        The shard.
    encode, batch_size
        See :func:`~whichgen.features.image_encoding.encode_batches`.
    keys_to_skip
        Keys (:func:`~whichgen.features.store.compute_feature_key`) of the images to skip. The
        batches contain the names of these images, but not their features.

    Returns
    -------
    iterator of EncodedBatch
        Batches in the order of the images in the shard.

    Raises
    ------
    EncoderError, RuntimeError
        See :func:`~whichgen.features.image_encoding.encode_batches`.

    Warns
    -----
    WhichgenWarning
        See :func:`~whichgen.features.image_encoding.encode_batches`.
    """

    def load(item: Item) -> LoadedImage:
        data = item.load()
        key = compute_feature_key(hash_image(data))
        return LoadedImage(None if key in keys_to_skip else decode_image(data, item.name), key)

    return encode_batches(make_shard_loaders(shard, load), encode, batch_size=batch_size)


@dataclass(frozen=True)
class EncodingJob:
    """Settings for encoding shards, sent once to each worker; see :func:`encode_shard`.

    Parameters
    ----------
    backbone, device, dtype
        Arguments of :func:`~whichgen.encoders.loading.load_encoder`.
    key
        Expected key of the encoder (:attr:`whichgen.encoders.encoder.Encoder.key`).
    batch_size
        Number of images per forward pass; incomplete batches are padded.
    keys_to_skip
        See :func:`encode_shard`.
    """

    backbone: str
    device: str
    dtype: str
    key: str
    batch_size: int
    keys_to_skip: KeySet = field(default_factory=lambda: KeySet(()))

    def start(self) -> Callable[[Shard], Iterator[EncodedBatch]]:
        """Load the encoder on a worker, and return a function that encodes a shard.

        Raises
        ------
        EncoderError
            The encoder can't be loaded, or its key differs from the expected :attr:`key`.
        """
        encoder = load_encoder(self.backbone, device=self.device, dtype=self.dtype)
        if encoder.key != self.key:
            raise EncoderError(
                f"the weights or preprocessing of {self.backbone} on a worker differ from those on "
                "the main machine. Install the same files and versions on all machines."
            )
        return partial(
            encode_shard,
            encode=BatchEncoder(encoder, pad_to=self.batch_size),
            batch_size=self.batch_size,
            keys_to_skip=self.keys_to_skip,
        )


def make_shard_loaders(shard: Shard, load: Callable[[Item], LoadedImage]) -> Iterator[ImageLoader]:
    """Yield a loader of each image for :func:`~whichgen.features.image_encoding.encode_batches`.

    The loader of an image calls ``load`` with the item of the image, and must be called exactly
    once. To limit the memory for images that are read but not decoded, the generator waits while
    ``2 * count_threads()`` (:func:`~whichgen.features.image_encoding.count_threads`) of its loaders
    have not returned.

    Parameters
    ----------
    shard
        The shard.
    load
        Function that reads and decodes an item.
    """
    slots = threading.Semaphore(2 * count_threads())

    def load_and_release(item: Item) -> LoadedImage:
        try:
            return load(item)
        finally:
            slots.release()

    for item in shard.read():
        slots.acquire()
        yield item.name, partial(load_and_release, item)
