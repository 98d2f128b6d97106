"""The fitted model: a head, an open-set score, a threshold, and data to explain and extend it."""

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
    """Features of some of the images that a model was fitted or selected on.

    With them, a new origin can be enrolled without the original images.

    Parameters
    ----------
    features
        The head's input for each image: float array (n, d), float16 if the values fit.
    labels
        The index of each image's origin: int64 array (n,).
    held_out
        Whether the image is a validation image, on which the head was not fitted: bool array (n,).
    thumbnails
        A small JPEG of each image (empty bytes if there is none), or ``()`` for no thumbnails.
    """

    features: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray
    thumbnails: tuple[bytes, ...] = ()

    def select(self, *, held_out: bool) -> tuple[np.ndarray, np.ndarray]:
        """Features, float32 (m, d), and labels (m,) of the validation or the training images."""
        rows = self.held_out == held_out
        return self.features[rows].astype(np.float32), self.labels[rows]


@dataclass(frozen=True)
class Calibration:
    """What the model outputs for the validation images of known origins.

    Prediction sets of any coverage (:mod:`whichgen.evaluation.conformal`) and score percentiles
    are computed from it.

    Parameters
    ----------
    probabilities
        float64 array (n, origins).
    labels
        The index of each image's true origin: int64 array (n,).
    scores
        Open-set scores: float64 array (n,).
    """

    probabilities: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def percentiles(self, scores: np.ndarray) -> np.ndarray:
        """The percentage of validation scores that are no higher than each score.

        Parameters
        ----------
        scores
            Open-set scores of new images: float array (m,).

        Returns
        -------
        numpy.ndarray
            float64 array (m,), each in [0, 100].
        """
        ranks = np.searchsorted(np.sort(self.scores), scores, side="right")
        return np.asarray(100.0 * ranks / len(self.scores))


@dataclass(frozen=True)
class OriginModel:
    """A fitted head with everything needed to attribute new images.

    Parameters
    ----------
    origins
        The known origins, in the order of the head's probabilities.
    encoder
        The encoder, as :meth:`whichgen.encoders.base.Encoder.describe` returns it.
    blocks
        The encoder blocks, counted from 0, whose features are concatenated for the head.
    head_method, hyperparameter
        The kind of head (``linear``, ``knn``, ``fusion``, …) and its hyperparameter (C or k).
    head
        The fitted head.
    threshold, tpr
        Images with an open-set score below the threshold are ``unknown``. The threshold keeps at
        least the share ``tpr`` of the known validation images.
    data_hash
        A digest of the images and origins that the model was fitted and selected on.
    metrics
        Test metrics, as JSON values.
    run_metadata
        How the model was made (:func:`whichgen.io.run_metadata.collect_run_metadata`).
    score_method, score
        The name of the open-set score (:data:`whichgen.openset.registry.SCORES`) and its fitted
        instance.
    temperature
        The logits are divided by it before the softmax; it does not change the order of origins.
    calibration
        Outputs for the validation images of known origins.
    exemplars
        Features of some of the images that the model was fitted and selected on.
    hierarchy
        Generator families, and the thresholds of answers above a single origin.
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
        """Return probabilities, float64 (n, origins), and open-set scores, float64 (n,).

        Parameters
        ----------
        features
            The concatenated features of :attr:`blocks`: float array (n, d).
        """
        return self.predict_from(self.head.forward(features))

    def predict_from(self, output: HeadOutput) -> tuple[np.ndarray, np.ndarray]:
        """Return the same as :meth:`predict`, from an output of :attr:`head`."""
        return predict(output, self.score, self.temperature)

    def coarse_origins(self, output: HeadOutput, decisions: np.ndarray) -> list[str]:
        """Return the most specific certain answer for each image.

        It is the predicted origin or, where that is ``unknown``, a generator family,
        ``synthetic``, ``real`` or ``unknown`` (:mod:`whichgen.openset.hierarchy`).

        Parameters
        ----------
        output
            Output of :attr:`head` for the n images.
        decisions
            The index of each predicted origin, -1 for ``unknown``
            (:func:`whichgen.openset.threshold.decide`): int array (n,).
        """
        return select_answers(output, decisions, self.origins, self.hierarchy)
