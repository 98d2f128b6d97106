"""Fitted model: head, open-set score, threshold, calibration data and exemplars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from whichgen.heads.base import Head, HeadOutput
from whichgen.openset.base import OpenSetScore
from whichgen.openset.hierarchy import Hierarchy, select_answers
from whichgen.openset.prediction import predict


@dataclass(frozen=True)
class Exemplars:
    """Features of a sample of the training and validation images, and of enrolled images.

    With exemplars, a new origin can be enrolled without the original images.

    Parameters
    ----------
    features
        The head's input for each image: float array (n, d); float16 if all values are in its range.
    labels
        Index of each image's origin: int64 array (n,).
    held_out
        True for validation images, on which the head was not fitted: bool array (n,).
    thumbnails
        JPEG thumbnail of each image, or empty bytes for an image without one; ``()`` if the model
        has no thumbnails.
    """

    features: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray
    thumbnails: tuple[bytes, ...] = ()

    def select(self, *, held_out: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the features and labels of the validation images or of the training images.

        Parameters
        ----------
        held_out
            True selects the validation images, false the training images.

        Returns
        -------
        features, labels
            float32 array (m, d) and int64 array (m,).
        """
        rows = self.held_out == held_out
        return self.features[rows].astype(np.float32), self.labels[rows]


@dataclass(frozen=True)
class Calibration:
    """The model's outputs for validation images of known origins.

    Prediction sets (:mod:`whichgen.evaluation.conformal`) and score percentiles are computed from
    these outputs.

    Parameters
    ----------
    probabilities
        Probability of each origin: float64 array (n, origins).
    labels
        Index of each image's true origin: int64 array (n,).
    scores
        Open-set scores: float64 array (n,).
    """

    probabilities: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def percentiles(self, scores: np.ndarray) -> np.ndarray:
        """Compute the percentile of each score among the validation scores.

        Parameters
        ----------
        scores
            Open-set scores of new images: float array (m,).

        Returns
        -------
        numpy.ndarray
            Percentage of validation scores less than or equal to each score, in [0, 100]: float64
            array (m,).
        """
        ranks = np.searchsorted(np.sort(self.scores), scores, side="right")
        return np.asarray(100.0 * ranks / len(self.scores))


@dataclass(frozen=True)
class OriginModel:
    """A fitted head with everything needed to attribute new images.

    Parameters
    ----------
    origins
        The known origins, in the order of the head's logits.
    encoder
        Description of the encoder (:meth:`whichgen.encoders.base.Encoder.describe`).
    blocks
        Indices, counted from 0, of the encoder blocks whose concatenated features are the head's
        input.
    head_method, hyperparameter
        The kind of head (``linear``, ``knn``, ``fusion``, …) and its hyperparameter: the inverse
        regularization strength C or the number of neighbors k.
    head
        The fitted head.
    threshold, tpr
        Images with an open-set score below the threshold are classified as ``unknown``. The
        threshold accepts at least the fraction ``tpr``, in (0, 1], of the validation images of
        known origins.
    data_hash
        Digest of the training and validation images and their origins.
    metrics
        Test metrics by name, serializable as JSON.
    run_metadata
        Options, seeds and versions (:func:`whichgen.io.run_metadata.collect_run_metadata`).
    score_method, score
        The name of the open-set score (:data:`whichgen.openset.registry.SCORES`) and its fitted
        instance.
    temperature
        The logits are divided by the temperature, > 0, before the softmax.
    calibration
        The model's outputs for validation images of known origins.
    exemplars
        Features of a sample of the training and validation images, for enrollment and similarity.
    hierarchy
        Generator families, and the thresholds for coarse origins (:meth:`coarse_origins`).
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

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the probabilities and open-set scores of images.

        Parameters
        ----------
        features
            The concatenated features of :attr:`blocks`: float array (n, d).

        Returns
        -------
        probabilities, scores
            float64 arrays (n, origins) and (n,).
        """
        return self.predict_from(self.head.forward(features))

    def predict_from(self, output: HeadOutput) -> tuple[np.ndarray, np.ndarray]:
        """Compute probabilities and open-set scores, as :meth:`predict`, from the head's output."""
        return predict(output, self.score, self.temperature)

    def coarse_origins(self, output: HeadOutput, decisions: np.ndarray) -> list[str]:
        """Return the most specific certain origin of each image.

        This is the predicted known origin or, if the prediction is ``unknown``, a generator family,
        ``synthetic``, ``real`` or ``unknown`` (:mod:`whichgen.openset.hierarchy`).

        Parameters
        ----------
        output
            Output of :attr:`head` for n images.
        decisions
            Index of the predicted origin of each image, -1 for ``unknown``
            (:func:`whichgen.openset.threshold.decide`): int array (n,).
        """
        return select_answers(output, decisions, self.origins, self.hierarchy)
