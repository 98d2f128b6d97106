"""Attribute a large collection shard by shard."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whichgen.data.reading import decode_image
from whichgen.data.shards import Item, Shard, hash_name
from whichgen.encoders.loading import load_encoder
from whichgen.errors import ImageError
from whichgen.features.prefetch import THREADS
from whichgen.features.shard_extraction import KeySet, parts, use_cpus
from whichgen.inference.attributor import Attributor
from whichgen.models.saved_model import OriginModel


@dataclass(frozen=True)
class Answered:
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
        The model and its encoder, with passes of ``batch_size`` images (its ``whole``).
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

    def __call__(self, shard: Shard) -> Iterator[Answered]:
        """The shard in parts, as they are done; errors as ``Attributor.attribute``'s."""
        for part in parts(shard, self._prepare, size=self._batch_size, threads=self._threads):
            asked = [item for item in part if isinstance(item, tuple)]
            answers = self._attributor.answer(asked, quantile=self._quantile) if asked else []
            unread = tuple(str(item) for item in part if isinstance(item, ImageError))
            yield Answered(len(part), tuple(answer.as_row() for answer in answers), unread)

    def _prepare(self, item: Item) -> tuple[str, np.ndarray | ImageError] | ImageError | None:
        if hash_name(item.name) in self._known:
            return None
        try:
            data = item.load()
        except ImageError as error:
            return error
        try:
            pixels = self._attributor.encoder.preprocess(decode_image(data, item.name))
        except ImageError as error:
            return item.name, error
        return item.name, pixels


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
        threads = use_cpus(cpus)
        encoder = load_encoder(
            self.backbone, device=self.device, dtype=str(self.model.encoder["dtype"])
        )
        return ShardAttributor(
            Attributor(self.model, encoder, whole=self.batch_size),
            known=self.known,
            coverage=self.coverage,
            batch_size=self.batch_size,
            threads=threads,
        )
