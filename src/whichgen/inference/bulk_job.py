"""Attribute a large collection of images shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from whichgen.data.shards.find_shards import Item, Shard, hash_name
from whichgen.encoders.loading import load_encoder
from whichgen.errors import ImageError
from whichgen.evidence.evidence_options import EvidenceOptions
from whichgen.features.image_encoding import LoadedImage, load_file
from whichgen.features.shard_extraction import KeySet, make_shard_loaders
from whichgen.inference.attribution import Attribution
from whichgen.inference.attributor import Attributor
from whichgen.models.origin_model import OriginModel


@dataclass(frozen=True)
class ShardAnswers:
    """Answers for consecutive images of a shard.

    Parameters
    ----------
    n_images
        Number of images, including files that could not be read and images that were skipped
        because they already have an answer.
    answers
        Answers for the remaining images; an answer has an ``error`` if the file can't be decoded
        or is not supported.
    read_errors
        Error message of each file that could not be read. A later run tries these files again.
    """

    n_images: int
    answers: tuple[Attribution, ...] = ()
    read_errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class AttributionJob:
    """Job that attributes the images of shards, in this process or on a worker of a cluster.

    Parameters
    ----------
    model
        The fitted model.
    backbone, device
        Path or name of the encoder, and its device (``auto``, ``cpu``, ``cuda``, …).
    batch_size
        Number of images per forward pass, including copies; incomplete batches are padded.
    coverage
        Coverage of the prediction sets, in (0, 1); ``None`` for no prediction sets.
    stability
        Whether to check the stability of the answers (:mod:`whichgen.inference.stability`).
    evidence
        Options for collecting the provenance evidence in files; ``None`` disables it.
    keys_to_skip
        Keys (:func:`~whichgen.data.shards.find_shards.hash_name`) of images to skip because they
        already have an answer.
    """

    model: OriginModel
    backbone: str
    device: str
    batch_size: int
    coverage: float | None = None
    stability: bool = False
    evidence: EvidenceOptions | None = None
    keys_to_skip: KeySet = field(default_factory=lambda: KeySet(()))

    def start(self) -> Callable[[Shard], Iterator[ShardAnswers]]:
        """Load the encoder, and return the function that attributes a shard.

        Raises
        ------
        ModelFileError
            The encoder differs from the one that the model was fitted on, or the model's arrays are
            inconsistent.
        EncoderError
            The encoder can't be loaded.
        """
        encoder = load_encoder(
            self.backbone, device=self.device, dtype=str(self.model.encoder["dtype"])
        )
        return partial(self.attribute, Attributor(self.model, encoder, pad_to=self.batch_size))

    def attribute(self, attributor: Attributor, shard: Shard) -> Iterator[ShardAnswers]:
        """Attribute the images of a shard.

        Parameters
        ----------
        attributor
            The model and its encoder.
        shard
            The shard.

        Yields
        ------
        ShardAnswers
            The answers for each batch, in the order of the images.

        Raises
        ------
        EncoderError
            A feature is not finite, memory is insufficient for a single image, or OpenVINO can't
            compile the network.
        RuntimeError
            The encoder fails for another reason.
        FitError
            :attr:`coverage` is out of range.
        ModelFileError
            The model's arrays are inconsistent.

        Warns
        -----
        WhichgenWarning
            Memory is insufficient for a batch; the batch size is halved.
        """
        quantile = None if self.coverage is None else attributor.compute_quantile(self.coverage)
        loaders = make_shard_loaders(shard, self._load)
        for batch in attributor.encode_batches(loaders, self.batch_size, self.stability):
            answers = attributor.attribute_batch(batch, quantile=quantile)
            read_errors = {
                batch.names[i]: str(error)
                for i, error in batch.errors.items()
                if isinstance(error, _UnavailableError)
            }
            available_answers = tuple(
                answer for answer in answers if answer.image not in read_errors
            )
            yield ShardAnswers(len(batch), available_answers, tuple(read_errors.values()))

    def _load(self, item: Item) -> LoadedImage:
        """Load an image and its evidence, unless it is skipped."""
        if hash_name(item.name) in self.keys_to_skip:
            return LoadedImage(None)
        try:
            data = item.load()
        except ImageError as error:
            raise _UnavailableError(str(error)) from error
        return load_file(data, item.name, self.evidence)


class _UnavailableError(ImageError):
    """A file can't be read, e.g. because of a network error; a later run may succeed."""
