"""Answers for new images: ``Attributor.load(path).attribute(images)``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from whichgen.constants import UNKNOWN
from whichgen.encoders.base import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.errors import FitError, ModelFileError
from whichgen.evaluation.conformal import (
    ConformalQuantile,
    conformal_quantile,
    prediction_sets,
)
from whichgen.features.batching import BatchEncoder
from whichgen.features.inference import EncodedBatch, ImageLike, encode_batches, image_loaders
from whichgen.features.prefetch import THREADS
from whichgen.inference.neighbors import ExemplarIndex, Neighbor, NeighborIndex
from whichgen.models.origin_model import OriginModel
from whichgen.models.saved_model import load_model
from whichgen.models.validation import check_feature_width, predict_checked
from whichgen.openset.threshold import decide
from whichgen.progress import Progress, no_progress


@dataclass(frozen=True)
class Attribution:
    """The answer for one image.

    Parameters
    ----------
    image
        The file's path, or ``image N`` for the Nth image that is none.
    origin
        A known origin or ``unknown``; ``None`` if the image could not be read.
    probabilities
        The probability of each known origin; they sum to 1. They are conditional on the origin
        being known, so they mean little where the answer is ``unknown``.
    score, threshold
        The open-set score, high is known; below the threshold the answer is ``unknown``. Its
        range is the score's (the maximum probability: 0…1; ``max_logit`` of a fusion: −∞…0).
    coarse_origin
        The most specific certain answer: :attr:`origin`, or where that is ``unknown`` a family of
        generators, ``synthetic``, ``real`` or ``unknown``
        (:mod:`whichgen.openset.hierarchy`).
    prediction_set
        The prediction set, if a coverage was asked for: known origins among which the true one is
        as often as asked, where the image is of a known origin and like the validation images.
    error
        Why there is no answer; empty if there is one.
    nearest
        The exemplars of the model, or images of a gallery, that are most like it, if they were
        asked for.
    """

    image: str
    origin: str | None
    probabilities: dict[str, float]
    score: float | None
    threshold: float
    coarse_origin: str | None = None
    prediction_set: tuple[str, ...] | None = None
    error: str = ""
    nearest: tuple[Neighbor, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON values, the probabilities by origin."""
        return asdict(self)

    def as_row(self) -> dict[str, Any]:
        """One flat row for a table: a probability is the column ``p(ORIGIN)``."""
        flat = {f"p({origin})": p for origin, p in self.probabilities.items()}
        return {
            "image": self.image,
            "origin": self.origin,
            "score": self.score,
            "threshold": self.threshold,
            "coarse_origin": self.coarse_origin,
            **(
                {}
                if self.prediction_set is None
                else {"prediction_set": " ".join(self.prediction_set)}
            ),
            **flat,
            **self._nearest_row(),
            "error": self.error,
        }

    def _nearest_row(self) -> dict[str, Any]:
        """The nearest image of a gallery; exemplars, which have no path, are not told in a row."""
        if not self.nearest or not self.nearest[0].path:
            return {}
        first = self.nearest[0]
        return {
            "nearest": first.path,
            "nearest_origin": first.origin,
            "nearest_cosine": first.similarity,
        }


class Attributor:
    """A model with its encoder, ready for images.

    >>> attributor = Attributor.load("output/my-run")
    >>> [answer.origin for answer in attributor.attribute(["a.png", "b.jpg"])]

    Parameters
    ----------
    model
        The fitted model.
    encoder
        The encoder whose features it was fitted on.
    pad_to
        Pad smaller batches to this number of images, so that an image's features are bitwise
        identical whatever it is encoded with
        (:class:`~whichgen.features.batching.BatchEncoder`); 0 disables padding.

    Raises
    ------
    ModelFileError
        The encoder's weights or preprocessing are not those the model was fitted with, or the
        model's arrays do not fit its features.
    """

    def __init__(self, model: OriginModel, encoder: Encoder, *, pad_to: int = 0) -> None:
        found = encoder.describe()
        for part in ("weights_hash", "preprocessing", "dtype", "blocks"):
            if found[part] != model.encoder[part]:
                raise ModelFileError(
                    f"the model was fitted on {model.encoder['name']} with {part} "
                    f"{model.encoder[part]}, but the encoder at hand has {found[part]}. "
                    "Use the same weights, or fit the model anew."
                )
        check_feature_width(model, sum(encoder.block_dims[b] for b in model.blocks))
        self.model = model
        self.encoder = encoder
        self.encode_batch = BatchEncoder(encoder, pad_to=pad_to)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: str = "auto",
        backbone: str = "",
        key: str | Path | None = None,
    ) -> Attributor:
        """Loads a model folder (or a run's folder) and its encoder.

        Parameters
        ----------
        path
            The folder.
        device
            Where the encoder runs: ``auto``, ``cpu``, ``cuda`` …
        backbone
            Where the encoder is, if not under the name the model was fitted with.
        key
            A public key in PEM: a folder that is not signed with it, or was changed since, is
            refused (:mod:`whichgen.models.signatures`). Left out, the variable
            ``WHICHGEN_VERIFY_KEY`` names it; without either none is asked for.
        """
        model = load_model(path, key=key)
        name = backbone or str(model.encoder["name"])
        return cls(model, load_encoder(name, device=device, dtype=str(model.encoder["dtype"])))

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        device: str = "auto",
        backbone: str = "",
        key: str | Path | None = None,
    ) -> Attributor:
        """As :meth:`load`, of a folder or of a repository on the Hugging Face hub.

        Parameters
        ----------
        name
            The folder, or ``owner/name``.
        revision
            A branch, tag or commit of the repository.
        """
        from whichgen.models.hub import download_model

        found = download_model(name, revision=revision)
        return cls.load(found, device=device, backbone=backbone, key=key)

    def push_to_hub(self, repository: str, *, private: bool = True, message: str = "") -> str:
        """Shares the model and its card on the hub (:func:`whichgen.models.hub.push`).

        Returns the address of the commit.
        """
        from whichgen.models.hub import upload_model

        return upload_model(self.model, repository, private=private, message=message)

    def attribute(
        self,
        images: Iterable[ImageLike] | ImageLike,
        *,
        coverage: float | None = None,
        nearest: int = 0,
        among: NeighborIndex | None = None,
        batch_size: int = 32,
        threads: int = THREADS,
        progress: Progress = no_progress,
    ) -> list[Attribution]:
        """The answers, in the order of the images; an unreadable image gets one with ``error``.

        One image alone is a list of one.

        Parameters
        ----------
        coverage
            A share in (0, 1): each answer gets a prediction set of that coverage.
        nearest
            So many of the model's exemplars that are most like an image are told, at most.
        among
            A gallery to tell them of instead
            (:func:`whichgen.gallery.loading.load_gallery`).

        Raises
        ------
        FitError
            ``coverage`` is out of range, or the model has no validation images to tell it by.
        """
        quantile = None if coverage is None else self.quantile(coverage)
        if isinstance(images, str | Path | bytes | Image.Image | np.ndarray):
            images = [images]
        sequence = list(images)
        known = among or (self.gallery if nearest else None)
        batches = encode_batches(
            image_loaders(sequence), self.encode_batch, batch_size=batch_size, threads=threads
        )
        answers = (
            answer
            for batch in batches
            for answer in self.attribute_batch(
                batch, quantile=quantile, nearest=nearest, among=known
            )
        )
        return list(progress(answers, description="Attributing", total=len(sequence)))

    def encode(
        self,
        images: Iterable[ImageLike],
        *,
        batch_size: int = 32,
        threads: int = THREADS,
        progress: Progress = no_progress,
    ) -> tuple[np.ndarray, list[str]]:
        """What the model's head reads of images.

        Returns
        -------
        features
            float32 array (readable images, d), in the order of the images.
        errors
            For each image why it can't be read, or nothing.
        """
        sequence = list(images)
        width = sum(self.encoder.block_dims[b] for b in self.model.blocks)
        features = [np.empty((0, width), np.float32)]
        batches = encode_batches(
            image_loaders(sequence), self.encode_batch, batch_size=batch_size, threads=threads
        )

        def read_errors() -> Iterator[str]:
            for batch in batches:
                features.append(self._features(batch))
                yield from (str(batch.errors.get(i, "")) for i in range(len(batch)))

        errors = list(progress(read_errors(), description="Encoding", total=len(sequence)))
        return np.concatenate(features), errors

    def quantile(self, coverage: float) -> ConformalQuantile:
        """What prediction sets of a coverage need; its notes say if images were too few."""
        calibration = self.model.calibration
        if calibration is None:
            raise FitError("the model has no validation images to tell a coverage by; fit it anew.")
        return conformal_quantile(calibration.probabilities, calibration.labels, coverage)

    def attribute_batch(
        self,
        batch: EncodedBatch,
        *,
        quantile: ConformalQuantile | None = None,
        nearest: int = 0,
        among: NeighborIndex | None = None,
    ) -> list[Attribution]:
        """Attribute the images of one batch, without those that were skipped.

        ``quantile`` comes from :meth:`quantile`; see :meth:`attribute` for the rest.
        """
        answered = iter(self._ask(batch, nearest, among) if batch.encoded else ())
        model = self.model
        answers = []
        for i, name in enumerate(batch.names):
            if i in batch.errors:
                error = str(batch.errors[i])
                answers.append(Attribution(name, None, {}, None, model.threshold, error=error))
            if i not in batch.encoded:
                continue
            row, score, index, coarse_origin, neighbors = next(answered)
            answers.append(
                Attribution(
                    image=name,
                    origin=UNKNOWN if index < 0 else model.origins[index],
                    probabilities=dict(zip(model.origins, row.tolist(), strict=True)),
                    score=float(score),
                    threshold=model.threshold,
                    coarse_origin=coarse_origin,
                    prediction_set=None if quantile is None else self._covered(row, quantile),
                    nearest=neighbors,
                )
            )
        return answers

    def _covered(self, probabilities: np.ndarray, quantile: ConformalQuantile) -> tuple[str, ...]:
        (inside,) = prediction_sets(probabilities[None], quantile)
        order = np.argsort(-probabilities, kind="stable")
        return tuple(self.model.origins[i] for i in order if inside[i])

    @cached_property
    def gallery(self) -> ExemplarIndex:
        """The model's exemplars, to look for the nearest among."""
        return ExemplarIndex(self.model)

    def _ask(
        self, batch: EncodedBatch, nearest: int, known: NeighborIndex | None
    ) -> Iterator[tuple[np.ndarray, float, int, str, tuple[Neighbor, ...] | None]]:
        """Each image's probabilities (origins,), score, decided index, deepest answer, nearest."""
        features = self._features(batch)
        probabilities, scores = predict_checked(self.model, features)
        decided = decide(probabilities, scores, self.model.threshold)
        found = self.model.coarse_origins(features, decided)
        neighbors = (
            known.nearest(features, nearest) if known and nearest else [None] * len(features)
        )
        return zip(probabilities, scores, decided.tolist(), found, neighbors, strict=True)

    def _features(self, batch: EncodedBatch) -> np.ndarray:
        return np.hstack([batch.blocks[b] for b in self.model.blocks])
