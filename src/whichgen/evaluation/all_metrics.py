"""All metrics of one test: known images against unknown ones, overall and for each generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.evaluation.closed_set import ClosedSetMetrics, closed_set_metrics
from whichgen.evaluation.detection import DetectionMetrics, detection_metrics
from whichgen.evaluation.oscr import oscr
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.real_vs_synthetic import SyntheticResult, real_vs_synthetic_metrics
from whichgen.openset.threshold import decide


@dataclass(frozen=True)
class UnknownResult:
    """How one unknown generator, or a group of them, is told from the known origins.

    ``top_prediction`` is the known origin that most of its images are nearest to (of equals the
    first), with the share of images it gets; ``rejection_rate`` the
    share answered ``unknown`` at the model's
    threshold.
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
    """The result of :func:`evaluate`; all rates in [0, 1].

    Parameters
    ----------
    acceptance_rate, rejection_rate
        Shares on the right side of the threshold (``nan`` where there are no unknown images).
    open_accuracy
        Share of *all* images answered right at the threshold: a known one by its origin, an
        unknown one by ``unknown``.
    detection, oscr
        All unknown images pooled; ``None`` where there are none.
    synthetic
        Real against synthetic images (:mod:`whichgen.evaluation.real_vs_synthetic`); empty where
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
    """Every metric of known and unknown images.

    Parameters
    ----------
    known, unknown
        Answers about test images of known and of unknown origins; ``unknown`` may be empty.
    origins
        The known origins, in the order of the probabilities' columns.
    threshold
        Scores below it are answered ``unknown``.
    groups
        Named sets of unknown origins that are reported on their own.
    """
    labels = known.labels(origins)
    correct = known.predicted == labels
    accepted = known.scores >= threshold
    rejected = decide(unknown.probabilities, unknown.scores, threshold) < 0

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
            rejection_rate=float(rejected[rows].mean()),
        )

    present = sorted(set(unknown.origins.tolist()))
    return Evaluation(
        origins=tuple(origins),
        known_images=len(known),
        unknown_images=len(unknown),
        closed=closed_set_metrics(known.probabilities, labels),
        detection=detection_metrics(known.scores, unknown.scores) if len(unknown) else None,
        oscr=oscr(known.scores, correct, unknown.scores) if len(unknown) else None,
        threshold=threshold,
        acceptance_rate=float(accepted.mean()),
        rejection_rate=float(rejected.mean()) if len(unknown) else float("nan"),
        open_accuracy=float(np.concatenate([correct & accepted, rejected]).mean()),
        unknown=tuple(result(name, [name]) for name in present),
        groups=tuple(
            result(name, members)
            for name, members in (groups or {}).items()
            if set(members) & set(present)
        ),
        synthetic=real_vs_synthetic_metrics(
            (known.probabilities, known.origins), (unknown.probabilities, unknown.origins), origins
        ),
    )
