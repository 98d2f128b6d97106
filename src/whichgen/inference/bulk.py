"""Attribute a large collection shard by shard."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from whichgen.data.reading import decode_image
from whichgen.data.shards import Item, Shard, hash_name
from whichgen.encoders.loading import load_encoder
from whichgen.errors import ImageError
from whichgen.features.inference import encode_batches
from whichgen.features.prefetch import THREADS
from whichgen.features.shard_extraction import KeySet, limit_threads, shard_loaders
from whichgen.inference.attributor import Attributor
from whichgen.models.origin_model import OriginModel


@dataclass(frozen=True)
class ShardAnswers:
    """What came of some consecutive images of a shard.

    Parameters
    ----------
    images
        How many they were: answered, known before, or not read.
    rows
        :meth:`~whichgen.inference.attributor.Attribution.as_row` of those that were read, with
        ``error`` set where a file is no image.
    unread
        Why others could not be read; that may be so today and not tomorrow, and is no answer.
    """

    images: int
    rows: tuple[dict[str, Any], ...] = ()
    unread: tuple[str, ...] = ()


class ShardAttributor:
    """Attributes a shard's images, in batches of ``batch_size`` cut by their place in the shard.

    Parameters
    ----------
    attributor
        The model and its encoder, with passes of ``batch_size`` images (its ``pad_to``).
    known
        :func:`~whichgen.data.shards.hash_name` of images not to be asked about.
    coverage
        See :meth:`~whichgen.inference.attributor.Attributor.attribute`.
    """

    def __init__(
        self,
        attributor: Attributor,
        *,
        known: Container[bytes] = (),
        coverage: float | None = None,
        batch_size: int = 32,
        threads: int = THREADS,
    ) -> None:
        self._attributor = attributor
        self._known = known
        self._quantile = None if coverage is None else attributor.quantile(coverage)
        self._batch_size = batch_size
        self._threads = threads

    def __call__(self, shard: Shard) -> Iterator[ShardAnswers]:
        """The shard in parts, as they are done; errors as ``Attributor.attribute``'s."""
        batches = encode_batches(
            shard_loaders(shard, self._load, threads=self._threads),
            self._attributor.encode_batch,
            batch_size=self._batch_size,
            threads=self._threads,
        )
        for batch in batches:
            answers = self._attributor.attribute_batch(batch, quantile=self._quantile)
            unread = {
                batch.names[i]: str(error)
                for i, error in batch.errors.items()
                if isinstance(error, _UnavailableError)
            }
            rows = tuple(answer.as_row() for answer in answers if answer.image not in unread)
            yield ShardAnswers(len(batch), rows, tuple(unread.values()))

    def _load(self, item: Item) -> tuple[bytes, Image.Image | None]:
        if hash_name(item.name) in self._known:
            return b"", None
        try:
            data = item.load()
        except ImageError as error:
            raise _UnavailableError(str(error)) from error
        return b"", decode_image(data, item.name)


class _UnavailableError(ImageError):
    """The bytes of an image can't be read now, which says nothing about the image."""


@dataclass(frozen=True)
class AttributeJob:
    """What a worker on another machine is told: the model goes along, the encoder it has."""

    model: OriginModel
    backbone: str
    device: str
    batch_size: int
    coverage: float | None = None
    known: KeySet = field(default_factory=lambda: KeySet(()))

    def start(self, cpus: int) -> ShardAttributor:
        """Loads the encoder; an error if it is not the one the model was fitted on."""
        threads = limit_threads(cpus)
        encoder = load_encoder(
            self.backbone, device=self.device, dtype=str(self.model.encoder["dtype"])
        )
        return ShardAttributor(
            Attributor(self.model, encoder, pad_to=self.batch_size),
            known=self.known,
            coverage=self.coverage,
            batch_size=self.batch_size,
            threads=threads,
        )
