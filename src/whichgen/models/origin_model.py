"""Fitted model: head, open-set score, threshold, calibration data and exemplars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from whichgen.data.images.reliability_traits import TrainingSizes
from whichgen.evaluation.training_sources import TrainingSources
from whichgen.heads.head import Head, HeadOutput
from whichgen.openset.hierarchy import Hierarchy, select_answers
from whichgen.openset.predict import predict
from whichgen.openset.score import OpenSetScore


@dataclass(frozen=True)
class Exemplars:
    """Features and origins of some training and validation images, and of all enrolled images.

    With exemplars, a new origin can be enrolled without the training and validation images.

    Parameters
    ----------
    features
        The head's input for each image: float16 or float32 array (n, d).
    labels
        Index of each image's origin: int64 array (n,).
    held_out
        True for validation images, false for training images and enrolled images: bool array (n,).
        If the training images had sources, the head was fitted on the validation images, too.
    thumbnails
        JPEG thumbnail of each image, or empty bytes for an image without a thumbnail; ``()`` if the
        model has no thumbnails.
    """

    features: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray
    thumbnails: tuple[bytes, ...] = ()

    def select(self, *, held_out: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the features and labels of either the validation images or all other images.

        Parameters
        ----------
        held_out
            True selects the validation images, false the training images and enrolled images.

        Returns
        -------
        features, labels
            float32 array (m, d) and int64 array (m,).
        """
        rows = self.held_out == held_out
        return self.features[rows].astype(np.float32), self.labels[rows]


@dataclass(frozen=True)
class Calibration:
    """Probabilities and open-set scores for held-out images of known origins.

    Held-out images are predicted by heads that were not fitted on them
    (:mod:`whichgen.training.held_out`). After an enrollment, the data are instead the new head's
    predictions for the held-out exemplars. Prediction sets (:mod:`whichgen.evaluation.conformal`)
    and the score percentiles of new images are computed from these data.

    Parameters
    ----------
    probabilities
        Probability of each origin: float64 array (n, origins), in [0, 1].
    labels
        Index of each image's true origin: int64 array (n,).
    scores
        Open-set scores: float64 array (n,).
    sources
        Index of each image's source: int64 array (n,); ``None`` unless all images have a source.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    sources: np.ndarray | None = None

    def compute_percentiles(self, scores: np.ndarray) -> np.ndarray:
        """Compute the percentile rank of each new score among the scores of held-out images.

        Parameters
        ----------
        scores
            Open-set scores of new images: float array (m,).

        Returns
        -------
        numpy.ndarray
            Percentage of held-out images whose score is less than or equal to the new score, in
            [0, 100]: float64 array (m,).
        """
        ranks = np.searchsorted(np.sort(self.scores), scores, side="right")
        return np.asarray(100.0 * ranks / len(self.scores))


@dataclass(frozen=True)
class OriginModel:
    """A fitted head with its open-set score, threshold and metadata, but without the encoder.

    Parameters
    ----------
    origins
        The known origins, in the order of the head's logits.
    encoder
        Description of the encoder (:meth:`whichgen.encoders.encoder.Encoder.describe`).
    blocks
        Indices, counted from 0, of the encoder blocks whose concatenated features are the head's
        input.
    head_method, hyperparameter
        Name of the method that fitted the head (``linear``, ``knn``, ``fusion`` or ``experts``) and
        the value of its hyperparameter: the inverse regularization strength C or the number of
        neighbors k.
    head
        The fitted head.
    threshold, tpr
        Images with an open-set score below the threshold are classified as ``unknown``. The
        threshold accepts at least the fraction ``tpr``, in (0, 1], of the validation images of
        known origins. If it was chosen by precision, ``tpr`` is the fraction of the held-out images
        of known origins that it accepts, or 1 / n if it accepts none of the n images.
    data_hash
        Digest of the content, perturbation, origin and split of every training, validation and test
        image.
    metrics
        Metrics of the test images by name
        (:data:`whichgen.evaluation.evaluate_predictions.TITLES`), in [0, 1] or ``None`` if
        undefined; empty if the model has not been tested, e.g. after an enrollment.
    run_metadata
        Options, seeds and versions (:func:`whichgen.io.run_metadata.collect_run_metadata`), the
        training sources and their overlap with the test sources, the sizes of the training images,
        and a record of each enrollment.
    score_method, score
        The name of the open-set score (:data:`whichgen.openset.score_registry.SCORES`) and its
        fitted instance.
    temperature
        Divisor of the logits before the softmax, > 0.
    calibration
        Probabilities and open-set scores for held-out images of known origins.
    exemplars
        Features and origins of images, for enrollment and for the search for similar images.
    hierarchy
        Family of each known generator, and the thresholds of the coarser predictions
        (:meth:`select_coarse_origins`).
    """

    origins: tuple[str, ...]
    encoder: Mapping[str, Any]
    blocks: tuple[int, ...]
    head_method: str
    hyperparameter: float
    head: Head
    threshold: float
    tpr: float
    data_hash: str
    metrics: Mapping[str, Any]
    run_metadata: Mapping[str, Any]
    score_method: str
    score: OpenSetScore
    temperature: float
    calibration: Calibration
    exemplars: Exemplars
    hierarchy: Hierarchy

    @property
    def n_features(self) -> int:
        """Number of features of an image, over all blocks of the model."""
        return int(self.exemplars.features.shape[1])

    @property
    def training_sources(self) -> TrainingSources | None:
        """The sources of the training images.

        ``None`` if they are not known, for example because images were enrolled later.
        """
        record = self.run_metadata.get("training_sources")
        if record is None or self.run_metadata.get("enrolled"):
            return None
        return TrainingSources(**record)

    @property
    def training_sizes(self) -> TrainingSizes | None:
        """Sizes of the training images; ``None`` if they are not known."""
        record = self.run_metadata.get("training_sizes")
        return TrainingSizes(**record) if record else None

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the probabilities and open-set scores of images.

        Parameters
        ----------
        features
            The concatenated features of :attr:`blocks`: float array (n, d).

        Returns
        -------
        probabilities, scores
            Probabilities in [0, 1], float64 array (n, origins), and open-set scores, float64 array
            (n,).

        Raises
        ------
        AssertionError, FitError, ValueError
            The head was fitted on another number of features; the type depends on the head.
        """
        return self.predict_from(self.head.forward(features))

    def predict_from(self, output: HeadOutput) -> tuple[np.ndarray, np.ndarray]:
        """Compute probabilities and scores as in :meth:`predict`, from the head's output."""
        return predict(output, self.score, self.temperature)

    def select_coarse_origins(self, output: HeadOutput, decisions: np.ndarray) -> list[str]:
        """Return the predicted origin of each image or, for a rejected image, a coarser prediction.

        The coarser prediction is a generator family, ``synthetic`` or ``real``, or ``unknown`` if
        none of these is certain (:mod:`whichgen.openset.hierarchy`).

        Parameters
        ----------
        output
            Output of :attr:`head` for n images.
        decisions
            Index of the predicted origin of each image, or -1 if the image is rejected
            (:func:`whichgen.openset.threshold.decide`): int64 array (n,).

        Returns
        -------
        list of str
            One prediction per image.
        """
        return select_answers(output, decisions, self.origins, self.hierarchy)
