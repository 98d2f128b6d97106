"""Attribute a large collection shard by shard."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field

from PIL import Image

from whichgen.constants import BATCH_SIZE
from whichgen.data.reading import decode_image
from whichgen.data.shards import Item, Shard, hash_name
from whichgen.encoders.loading import load_encoder
from whichgen.errors import ImageError
from whichgen.features.inference import encode_batches
from whichgen.features.shard_extraction import KeySet, shard_loaders
from whichgen.inference.answers import Attribution
from whichgen.inference.attributor import Attributor
from whichgen.models.origin_model import OriginModel


@dataclass(frozen=True)
class ShardAnswers:
    """The answers for some consecutive images of a shard.

    Parameters
    ----------
    n_images
        The number of images: answered, known before, or unavailable.
    answers
        Their ``error`` is set if a file is not a valid image.
    unavailable
        Why other files could not be read. They get no answer, so that a later run tries them again.
    """

    n_images: int
    answers: tuple[Attribution, ...] = ()
    unavailable: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShardAttributor:
    """Attribute the images of a shard in batches.

    Parameters
    ----------
    attributor
        The model and its encoder, with ``pad_to=batch_size``.
    known
        Images to skip (:func:`~whichgen.data.shards.hash_name`).
    coverage
        See :meth:`~whichgen.inference.attributor.Attributor.attribute`.
    """

    attributor: Attributor
    known: Container[bytes] = ()
    coverage: float | None = None
    batch_size: int = BATCH_SIZE

    def __call__(self, shard: Shard) -> Iterator[ShardAnswers]:
        """Yield the answers for the shard batch by batch."""
        quantile = None if self.coverage is None else self.attributor.quantile(self.coverage)
        batches = encode_batches(
            shard_loaders(shard, self._load),
            self.attributor.encode_batch,
            batch_size=self.batch_size,
        )
        for batch in batches:
            answers = self.attributor.attribute_batch(batch, quantile=quantile)
            unavailable = {
                batch.names[i]: str(error)
                for i, error in batch.errors.items()
                if isinstance(error, _UnavailableError)
            }
            available = tuple(answer for answer in answers if answer.image not in unavailable)
            yield ShardAnswers(len(batch), available, tuple(unavailable.values()))

    def _load(self, item: Item) -> tuple[bytes, Image.Image | None]:
        if hash_name(item.name) in self.known:
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
    """What a worker needs, here or on another machine; it loads the encoder of the model."""

    model: OriginModel
    backbone: str
    device: str
    batch_size: int
    coverage: float | None = None
    known: KeySet = field(default_factory=lambda: KeySet(()))

    def start(self) -> ShardAttributor:
        """Load the encoder; raise an error if it is not the one the model was fitted on."""
        encoder = load_encoder(
            self.backbone, device=self.device, dtype=str(self.model.encoder["dtype"])
        )
        attributor = Attributor(self.model, encoder, pad_to=self.batch_size)
        return ShardAttributor(attributor, self.known, self.coverage, self.batch_size)
