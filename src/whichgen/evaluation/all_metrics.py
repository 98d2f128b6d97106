"""All metrics of a test set: known images against unknown ones, overall and for each generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.evaluation.closed_set import ClosedSetMetrics, closed_set_metrics
from whichgen.evaluation.detection import DetectionMetrics, detection_metrics
from whichgen.evaluation.headline_metrics import HeadlineMetrics
from whichgen.evaluation.oscr import oscr
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.real_vs_synthetic import SyntheticResult, real_vs_synthetic_metrics


@dataclass(frozen=True)
class UnknownResult:
    """How well one unknown generator, or a group of them, is separated from the known origins.

    Parameters
    ----------
    detection, oscr
        Its images against all known images.
    mean_score
        Mean open-set score of its images.
    top_prediction, top_prediction_share
        The known origin that is most probable for most of its images (the first on a tie), and the
        share of its images, in [0, 1].
    rejection_rate
        Share of its images answered ``unknown`` at the model's threshold, in [0, 1].
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
class Evaluation:
    """The result of :func:`evaluate`; all rates are in [0, 1].

    Parameters
    ----------
    acceptance_rate
        Share of known images whose score is at or above the threshold.
    rejection_rate
        Share of unknown images whose score is below the threshold; NaN without unknown images.
    open_accuracy
        Share of *all* images answered correctly at the threshold: a known image by its origin, an
        unknown image by ``unknown``.
    detection, oscr
        All unknown images pooled; ``None`` without unknown images.
    unknown, groups
        Results of each unknown generator, and of each named group of them.
    synthetic
        Real against synthetic images (:mod:`whichgen.evaluation.real_vs_synthetic`); empty if
        ``real`` is not a known origin.
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


def evaluate(
    known: Predictions,
    unknown: Predictions,
    origins: Sequence[str],
    *,
    threshold: float,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Evaluation:
    """Compute every metric of known and unknown test images.

    Parameters
    ----------
    known, unknown
        Predictions for test images of known and of unknown origins; ``unknown`` may be empty.
    origins
        The known origins, in the order of the probabilities' columns.
    threshold
        Images with a score below it are answered ``unknown``.
    groups
        Named sets of unknown origins to report together.
    """
    correct = known.is_correct(origins)
    names = sorted(set(unknown.origins.tolist()))
    values = HeadlineMetrics(known, unknown, origins, threshold).values

    def result(name: str, members: Sequence[str]) -> UnknownResult:
        rows = np.isin(unknown.origins, members)
        counts = np.bincount(unknown.predicted[rows], minlength=len(origins))
        scores = unknown.scores[rows]
        return UnknownResult(
            name=name,
            images=int(rows.sum()),
            detection=detection_metrics(known.scores, scores),
            oscr=oscr(known.scores, correct, scores),
            mean_score=float(scores.mean()),
            top_prediction=origins[int(counts.argmax())],
            top_prediction_share=float(counts.max() / counts.sum()),
            rejection_rate=float((scores < threshold).mean()),
        )

    return Evaluation(
        origins=tuple(origins),
        known_images=len(known),
        unknown_images=len(unknown),
        closed=closed_set_metrics(known.probabilities, known.labels(origins)),
        detection=detection_metrics(known.scores, unknown.scores) if len(unknown) else None,
        oscr=values.get("oscr"),
        threshold=threshold,
        acceptance_rate=values["acceptance_rate"],
        rejection_rate=values.get("rejection_rate", float("nan")),
        open_accuracy=values["open_accuracy"],
        unknown=tuple(result(name, [name]) for name in names),
        groups=tuple(
            result(name, members)
            for name, members in (groups or {}).items()
            if set(members) & set(names)
        ),
        synthetic=real_vs_synthetic_metrics(known, unknown, origins),
    )
