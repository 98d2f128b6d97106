"""Metrics of predictions: overall, per unknown generator and per group of unknown generators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan

import numpy as np

from whichgen.evaluation.answer_metrics import ANSWER_TITLES, AnswerMetrics
from whichgen.evaluation.closed_set import ClosedSetMetrics, compute_closed_set_metrics
from whichgen.evaluation.headline_metrics import METRIC_TITLES, HeadlineMetrics
from whichgen.evaluation.oscr import compute_oscr
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.real_vs_synthetic import SyntheticResult, compute_real_vs_synthetic_metrics
from whichgen.evaluation.training_sources import SourceOverlap, TrainingSources, compare_sources
from whichgen.evaluation.unknown_detection import DetectionMetrics, compute_detection_metrics

#: The title of each metric of :attr:`Evaluation.metrics`, in the order of tables.
TITLES = METRIC_TITLES | ANSWER_TITLES


@dataclass(frozen=True)
class UnknownResult:
    """Metrics of one unknown generator, or of a group of unknown generators.

    Parameters
    ----------
    name
        Name of the generator or of the group.
    images
        Number of test images of the generator or group.
    detection, oscr
        Metrics of these images against all known images; ``oscr`` is in [0, 1].
    mean_score
        Mean open-set score of these images.
    top_prediction, top_prediction_share
        Known origin that is most often the most probable origin of these images, including
        rejected images (on a tie, the first in the order of the known origins), and the fraction of
        these images for which it is the most probable origin, in [0, 1].
    rejection_rate
        Fraction of these images that are classified as ``unknown``, in [0, 1].
    """

    name: str
    images: int
    detection: DetectionMetrics
    oscr: float
    mean_score: float
    top_prediction: str
    top_prediction_share: float
    rejection_rate: float


@dataclass(frozen=True)
class AnswerRate:
    """Value and denominator of an answer metric.

    See :class:`~whichgen.evaluation.answer_metrics.AnswerMetrics`.

    Parameters
    ----------
    value
        Value in [0, 1]; ``None`` if it is undefined: there are no images or, for ``tpr_at_fpr1``,
        no real images.
    images
        Denominator of the metric: number of images.
    """

    value: float | None
    images: int


@dataclass(frozen=True)
class Evaluation:
    """The result of :func:`evaluate`; all rates and ``oscr`` are in [0, 1].

    Parameters
    ----------
    origins
        The known origins.
    known_images, unknown_images
        Number of test images of known and of unknown origins.
    closed
        Closed-set metrics of the known images.
    detection, oscr
        Metrics of all unknown images against all known images; ``None`` without unknown images.
    threshold
        Images with a lower open-set score are classified as ``unknown``.
    acceptance_rate
        Fraction of known images whose score is at or above the threshold.
    rejection_rate
        Fraction of unknown images whose score is below the threshold; NaN without unknown images.
    open_accuracy
        Fraction of *all* images classified correctly at the threshold: known images as their
        origin, unknown images as ``unknown``.
    unknown, groups
        Metrics of each unknown generator, sorted by name, and of each group of unknown generators
        that has test images.
    synthetic
        Metrics of real against synthetic images (:mod:`whichgen.evaluation.real_vs_synthetic`);
        empty without test images of the known origin ``real`` or without synthetic test images.
    answers
        Metrics of the answers by name (:data:`~whichgen.evaluation.answer_metrics.ANSWER_TITLES`);
        empty if the answers are not available.
    source_overlap
        Number of test sources, and how many of them are training sources; ``None`` if the known or
        the unknown predictions have no sources.
    """

    origins: tuple[str, ...]
    known_images: int
    unknown_images: int
    closed: ClosedSetMetrics
    detection: DetectionMetrics | None
    oscr: float | None
    threshold: float
    acceptance_rate: float
    rejection_rate: float
    open_accuracy: float
    unknown: tuple[UnknownResult, ...]
    groups: tuple[UnknownResult, ...]
    synthetic: tuple[SyntheticResult, ...]
    answers: dict[str, AnswerRate] = field(default_factory=dict)
    source_overlap: SourceOverlap | None = None

    @property
    def metrics(self) -> dict[str, float | None]:
        """Headline metrics and answer metrics in [0, 1], by name (the keys of :data:`TITLES`).

        Undefined metrics are ``None``. Without real or without synthetic test images,
        ``synthetic_auroc`` and ``synthetic_average_precision`` are missing; if :attr:`answers` is
        empty, all answer metrics are missing.
        """
        values = vars(self) | vars(self.closed) | (vars(self.detection) if self.detection else {})
        for result in self.synthetic:
            if result.name == "all":
                values["synthetic_auroc"] = result.auroc
                values["synthetic_average_precision"] = result.average_precision
        available = {k: values.get(k) for k in METRIC_TITLES if k in values or "synthetic" not in k}
        available |= {name: rate.value for name, rate in self.answers.items()}
        return {k: None if v is None or isnan(v) else v for k, v in available.items()}


def evaluate(
    known: Predictions,
    unknown: Predictions,
    origins: Sequence[str],
    *,
    threshold: float,
    groups: Mapping[str, Sequence[str]] | None = None,
    answers: Sequence[str] | None = None,
    training_sources: TrainingSources | None = None,
) -> Evaluation:
    """Compute all metrics from predictions for known and unknown test images.

    Parameters
    ----------
    known, unknown
        Predictions for test images of known and of unknown origins; ``unknown`` may be empty.
    origins
        The known origins, in the order of the probabilities' columns.
    threshold
        Images with a lower open-set score are classified as ``unknown``.
    groups
        Maps the name of each group to its unknown origins, whose images are also evaluated
        together. Groups without images are omitted.
    answers
        The answers (:func:`whichgen.openset.hierarchy.select_answers`) for the known and then the
        unknown images; ``None`` to omit the answer metrics.
    training_sources
        Training sources of the model; ``None`` if they are not recorded. They are compared with the
        sources of the test images.

    Returns
    -------
    Evaluation
        All metrics of the test images.

    Raises
    ------
    DataError
        There is no known image, or a known image has an origin that is not in ``origins``.
    """
    correct = known.is_correct(origins)
    names = sorted(set(unknown.origins.tolist()))
    values = HeadlineMetrics(known, unknown, origins, threshold).values
    sources = Predictions.concatenate([known, unknown]).sources

    def evaluate_unknown(name: str, members: Sequence[str]) -> UnknownResult:
        rows = np.isin(unknown.origins, members)
        counts = np.bincount(unknown.predicted[rows], minlength=len(origins))
        scores = unknown.scores[rows]
        return UnknownResult(
            name=name,
            images=int(rows.sum()),
            detection=compute_detection_metrics(known.scores, scores),
            oscr=compute_oscr(known.scores, correct, scores),
            mean_score=float(scores.mean()),
            top_prediction=origins[int(counts.argmax())],
            top_prediction_share=float(counts.max() / counts.sum()),
            rejection_rate=float((scores < threshold).mean()),
        )

    return Evaluation(
        origins=tuple(origins),
        known_images=len(known),
        unknown_images=len(unknown),
        closed=compute_closed_set_metrics(known.probabilities, known.get_labels(origins)),
        detection=compute_detection_metrics(known.scores, unknown.scores) if len(unknown) else None,
        oscr=values.get("oscr"),
        threshold=threshold,
        acceptance_rate=values["acceptance_rate"],
        rejection_rate=values.get("rejection_rate", float("nan")),
        open_accuracy=values["open_accuracy"],
        unknown=tuple(evaluate_unknown(name, [name]) for name in names),
        groups=tuple(
            evaluate_unknown(name, members)
            for name, members in (groups or {}).items()
            if set(members) & set(names)
        ),
        synthetic=compute_real_vs_synthetic_metrics(known, unknown, origins),
        answers={} if answers is None else _rate_answers(known, unknown, answers, origins),
        source_overlap=None if sources is None else compare_sources(sources, training_sources),
    )


def _rate_answers(
    known: Predictions, unknown: Predictions, answers: Sequence[str], origins: Sequence[str]
) -> dict[str, AnswerRate]:
    metrics = AnswerMetrics(known, unknown, answers, origins)
    images = metrics.images
    return {
        name: AnswerRate(None if isnan(value) else value, images[name])
        for name, value in metrics.values.items()
    }
