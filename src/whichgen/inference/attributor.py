"""Attribute images: ``Attributor.load(path).attribute(images)``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from whichgen.constants import UNKNOWN
from whichgen.defaults import BATCH_SIZE
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.evaluation.conformal import (
    ConformalQuantile,
    compute_conformal_quantile,
    compute_prediction_sets,
)
from whichgen.evidence.evidence_options import EvidenceOptions
from whichgen.features.batching import BatchEncoder
from whichgen.features.image_encoding import (
    EncodedBatch,
    ImageLike,
    ImageLoader,
    encode_batches,
    make_image_loaders,
)
from whichgen.inference.attribution import Attribution
from whichgen.inference.feature_range import FAR_NOTE, TrainingRange
from whichgen.inference.reliability_notes import describe_unusual_traits
from whichgen.inference.similar_images import ExemplarIndex, NeighborIndex
from whichgen.inference.stability import COPIES, check_stability
from whichgen.models.array_validation import predict_and_validate
from whichgen.models.builtin_model import BUILTIN_MODEL
from whichgen.models.encoder_match import check_encoder
from whichgen.models.origin_model import OriginModel
from whichgen.models.saved_model import load_model
from whichgen.openset.threshold import decide
from whichgen.progress import Progress, no_progress


class Attributor:
    """A model with its encoder, ready to attribute images.

    Parameters
    ----------
    model
        The fitted model.
    encoder
        The encoder whose features the model was fitted on.
    pad_to
        Fixed number of images per forward pass, so that an image's features are bitwise identical
        regardless of the other images: larger batches are divided, and smaller ones padded
        (:class:`~whichgen.features.batching.BatchEncoder`); 0 disables this.

    Raises
    ------
    ModelFileError
        The encoder differs from the one that the model was fitted on, or the shapes of the model's
        arrays do not match the encoder's features.

    Examples
    --------
    >>> attributor = Attributor.load("output/my-run")  # doctest: +SKIP
    >>> [answer.origin for answer in attributor.attribute(["a.png", "b.jpg"])]  # doctest: +SKIP
    ['midjourney', 'unknown']
    """

    def __init__(self, model: OriginModel, encoder: Encoder, *, pad_to: int = 0) -> None:
        check_encoder(model, encoder)
        self.model = model
        self.encoder = encoder
        self.batch_encoder = BatchEncoder(encoder, pad_to=pad_to)

    @classmethod
    def load(
        cls,
        path: str | Path = BUILTIN_MODEL,
        *,
        device: str = "auto",
        backbone: str = "",
        key: str | Path | None = None,
    ) -> Attributor:
        """Load a model and its encoder.

        Parameters
        ----------
        path
            A model folder or a run folder; default: the built-in model.
        device
            Device of the encoder: ``auto``, ``cpu``, ``cuda``, ….
        backbone
            Path or name of the encoder; default: the encoder name recorded in the model.
        key
            PEM file of the public key that must verify the signature of the model folder; default:
            the file named by the environment variable ``WHICHGEN_VERIFY_KEY``. Without either, the
            signature is not verified.

        Raises
        ------
        ModelFileError
            The model can't be loaded or verified (:func:`whichgen.models.saved_model.load_model`),
            or it was fitted on another encoder.
        EncoderError
            The encoder can't be loaded.
        """
        model = load_model(path, key=key)
        name = backbone or str(model.encoder["name"])
        return cls(model, load_encoder(name, device=device, dtype=str(model.encoder["dtype"])))

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, **options: Any
    ) -> Attributor:
        """Load a model from a folder or from the Hugging Face hub.

        Parameters
        ----------
        name
            Path of a model folder or run folder, or the hub repository ``owner/name``.
        revision
            Branch, tag or commit of the repository; default: its main branch. Ignored for a folder.
        options
            ``device``, ``backbone`` and ``key`` of :meth:`load`.

        Raises
        ------
        ModelFileError
            The model can't be downloaded (:func:`whichgen.models.hub.download_model`) or loaded
            (:meth:`load`).
        EncoderError
            The encoder can't be loaded.
        """
        from whichgen.models.hub import download_model  # urllib takes time to import

        return cls.load(download_model(name, revision=revision), **options)

    def push_to_hub(self, repository: str, *, private: bool = True, message: str = "") -> str:
        """Upload the model to the Hugging Face hub, and return the URL of the commit.

        See :func:`whichgen.models.hub.upload_model` for the parameters.

        Raises
        ------
        ModelFileError
            The upload fails.
        """
        from whichgen.models.hub import upload_model

        return upload_model(self.model, repository, private=private, message=message)

    def attribute(
        self,
        images: Iterable[ImageLike] | ImageLike,
        *,
        coverage: float | None = None,
        nearest: int = 0,
        gallery: NeighborIndex | None = None,
        stability: bool = False,
        evidence: EvidenceOptions | None = None,
        batch_size: int = BATCH_SIZE,
        progress: Progress = no_progress,
    ) -> list[Attribution]:
        """Attribute images to known origins or ``unknown``.

        Parameters
        ----------
        images
            One or several images. An image is a file path, the bytes of an image file, a Pillow
            image, or a uint8 array (h, w, 3) or (h, w).
        coverage
            Coverage of the prediction sets, in (0, 1); ``None`` for no prediction sets.
        nearest
            Maximum number of similar images to add to each answer; 0 adds no images.
        gallery
            Gallery to search for similar images (:func:`whichgen.gallery.search.load_gallery`);
            default: the exemplars stored in the model. Not used if ``nearest`` is 0.
        stability
            Also attribute five slightly altered copies of each image, and return a less specific
            answer if a copy does not confirm it (:mod:`whichgen.inference.stability`).
        evidence
            Options for collecting the provenance evidence in files (paths and bytes); ``None``
            disables it.
        batch_size
            Maximum number of images per batch, including copies; a batch contains at least one
            image and its copies.
        progress
            Progress bar (:data:`whichgen.progress.Progress`).

        Returns
        -------
        list of Attribution
            One answer per image, in the order of the images. The answer for an image that can't be
            read has an ``error`` instead of an origin.

        Raises
        ------
        EncoderError
            A feature is not finite, memory is insufficient for a single image, or OpenVINO can't
            compile the network.
        RuntimeError
            The encoder fails for another reason.
        FitError
            ``coverage`` is out of range, or the embedding of an image contains NaN or infinity.
        GalleryError
            A request to the service of the gallery fails.
        ModelFileError
            The model's arrays are inconsistent.

        Warns
        -----
        WhichgenWarning
            Memory is insufficient for a batch; the batch size is halved.
        """
        quantile = None if coverage is None else self.compute_quantile(coverage)
        sequence = [images] if isinstance(images, ImageLike) else list(images)
        answers = (
            answer
            for batch in self.encode_batches(
                make_image_loaders(sequence, evidence), batch_size, stability
            )
            for answer in self.attribute_batch(
                batch, quantile=quantile, nearest=nearest, gallery=gallery
            )
        )
        return list(progress(answers, description="Attributing", total=len(sequence)))

    def encode(
        self,
        images: Iterable[ImageLike],
        *,
        batch_size: int = BATCH_SIZE,
        progress: Progress = no_progress,
    ) -> tuple[np.ndarray, list[str]]:
        """Compute the head's input for images: the concatenated features of the model's blocks.

        Parameters
        ----------
        images
            Images of the types that :meth:`attribute` accepts.
        batch_size
            Maximum number of images per batch.
        progress
            Progress bar (:data:`whichgen.progress.Progress`).

        Returns
        -------
        features
            Features of the m images that can be read, in the order of the images: float32 array
            (m, d).
        errors
            One string per image: the reason why it can't be read, or an empty string.

        Raises
        ------
        EncoderError
            A feature is not finite, memory is insufficient for a single image, or OpenVINO can't
            compile the network.
        RuntimeError
            The encoder fails for another reason.

        Warns
        -----
        WhichgenWarning
            Memory is insufficient for a batch; the batch size is halved.
        """
        sequence = list(images)
        features = [np.empty((0, self.model.n_features), np.float32)]

        def read_errors() -> Iterator[str]:
            for batch in self.encode_batches(make_image_loaders(sequence), batch_size):
                features.append(self._concatenate_blocks(batch))
                yield from (str(batch.errors.get(i, "")) for i in range(len(batch)))

        errors = list(progress(read_errors(), description="Encoding", total=len(sequence)))
        return np.concatenate(features), errors

    def encode_batches(
        self, images: Iterable[ImageLoader], batch_size: int, stability: bool = False
    ) -> Iterator[EncodedBatch]:
        """Encode images in batches.

        Parameters
        ----------
        images
            Loaders of the images (:func:`~whichgen.features.image_encoding.make_image_loaders`).
        batch_size
            Maximum number of images per batch, including copies.
        stability
            Whether the :data:`~whichgen.inference.stability.COPIES` of each image are encoded, too.

        Yields
        ------
        EncodedBatch
            See :func:`~whichgen.features.image_encoding.encode_batches`.

        Raises
        ------
        EncoderError
            A feature is not finite, memory is insufficient for a single image, or OpenVINO can't
            compile the network.
        RuntimeError
            The encoder fails for another reason.

        Warns
        -----
        WhichgenWarning
            Memory is insufficient for a batch; the batch size is halved.
        """
        copies = COPIES.values() if stability else ()
        return encode_batches(images, self.batch_encoder, batch_size=batch_size, copies=copies)

    def compute_quantile(self, coverage: float) -> ConformalQuantile:
        """Compute the quantile that :meth:`attribute_batch` needs for prediction sets.

        If the model has too few validation images, or too few sources of these images, the
        ``notes`` of the quantile contain a warning.

        Parameters
        ----------
        coverage
            Coverage of the prediction sets, in (0, 1).

        Raises
        ------
        FitError
            ``coverage`` is out of range.
        """
        calibration = self.model.calibration
        return compute_conformal_quantile(
            calibration.probabilities, calibration.labels, coverage, calibration.sources
        )

    def attribute_batch(
        self,
        batch: EncodedBatch,
        *,
        quantile: ConformalQuantile | None = None,
        nearest: int = 0,
        gallery: NeighborIndex | None = None,
    ) -> list[Attribution]:
        """Attribute the images of an encoded batch.

        Parameters
        ----------
        batch
            Features and evidence of the images (:meth:`encode_batches`). If it also contains
            features of the :data:`~whichgen.inference.stability.COPIES` of the images, the
            stability of the answers is checked.
        quantile
            Result of :meth:`compute_quantile`; ``None`` for no prediction sets.
        nearest, gallery
            See :meth:`attribute`.

        Returns
        -------
        list of Attribution
            One answer per image that is not skipped, in the order of the images. The answer for an
            image that can't be read has an ``error`` instead of an origin.

        Raises
        ------
        FitError
            The embedding of an image contains NaN or infinity.
        GalleryError
            A request to the service of the gallery fails.
        ModelFileError
            The model's arrays are inconsistent.
        """
        model, n = self.model, len(batch.positions)
        answers = {
            i: Attribution(batch.names[i], None, {}, None, model.threshold, error=str(error))
            for i, error in batch.errors.items()
        }
        if n:
            features = self._concatenate_blocks(batch).reshape(n, -1, self.model.n_features)
            output, probabilities, scores = predict_and_validate(model, features[:, 0])
            decisions = decide(probabilities, scores, model.threshold)
            coarse_origins = model.select_coarse_origins(output, decisions)
            percentiles = model.calibration.compute_percentiles(scores).tolist()
            sets = self._make_prediction_sets(probabilities, quantile) if quantile else [None] * n
            index = gallery or self.exemplar_index if nearest else None
            neighbors = index.find_neighbors(output, nearest) if index else [None] * n
            copy_answers = self._attribute_copies(features[:, 1:])
            is_far = dict(
                zip(batch.positions, self.training_range.is_far(features[:, 0]), strict=True)
            )
        for row, i in enumerate(batch.positions):
            origin = UNKNOWN if decisions[row] < 0 else model.origins[decisions[row]]
            answers[i] = Attribution(
                image=batch.names[i],
                origin=origin,
                probabilities=dict(zip(model.origins, probabilities[row].tolist(), strict=True)),
                score=float(scores[row]),
                threshold=model.threshold,
                coarse_origin=coarse_origins[row],
                prediction_set=sets[row],
                nearest=neighbors[row],
                score_percentile=percentiles[row],
            )
            if copy_answers[row]:
                families = model.hierarchy.families
                answers[i] = check_stability(answers[i], copy_answers[row], families)
        sizes = model.training_sizes
        for i, traits in batch.traits.items():
            notes = describe_unusual_traits(traits, sizes) + ((FAR_NOTE,) if is_far[i] else ())
            answers[i] = replace(answers[i], width=traits.width, height=traits.height, notes=notes)
        for i, evidence in batch.evidence.items():
            answers[i] = replace(answers[i], provenance=evidence)
        return [answers[i] for i in sorted(answers)]

    @cached_property
    def exemplar_index(self) -> ExemplarIndex:
        """Similarity index of the model's exemplars, built on first access."""
        return ExemplarIndex(self.model)

    @cached_property
    def training_range(self) -> TrainingRange:
        """Range of the features of the model's exemplars, computed on first access."""
        widths = [self.encoder.block_dims[block] for block in self.model.blocks]
        return TrainingRange(self.model.exemplars.features, widths)

    def _attribute_copies(self, features: np.ndarray) -> list[list[str]]:
        """Return the most specific answer for each copy of each image.

        ``features`` contains the head's input for k ≥ 0 copies of n images: array (n, k, d).
        """
        n, k, d = features.shape
        if not k:
            return [[]] * n
        output, probabilities, scores = predict_and_validate(self.model, features.reshape(n * k, d))
        decisions = decide(probabilities, scores, self.model.threshold)
        answers = self.model.select_coarse_origins(output, decisions)
        return [answers[i : i + k] for i in range(0, n * k, k)]

    def _make_prediction_sets(
        self, probabilities: np.ndarray, quantile: ConformalQuantile
    ) -> list[tuple[str, ...]]:
        """Return the prediction set of each image: a tuple of origins, most probable first."""
        members = compute_prediction_sets(probabilities, quantile)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            tuple(self.model.origins[i] for i in ranked if member[i])
            for ranked, member in zip(order, members, strict=True)
        ]

    def _concatenate_blocks(self, batch: EncodedBatch) -> np.ndarray:
        """Return the head's input for the images of a batch and their copies.

        For m images with k copies each, this is a float32 array (m (1 + k), d).
        """
        return np.hstack([batch.blocks[b] for b in self.model.blocks])
