"""All metrics of one test: known images against unknown ones, overall and for each generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field

import numpy as np

from whichgen.errors import DataError
from whichgen.evaluation.closed_set import ClosedSet, closed_set
from whichgen.evaluation.detection import Detection, detection
from whichgen.evaluation.oscr import oscr
from whichgen.evaluation.real_vs_synthetic import SyntheticResult, synthetic_detection
from whichgen.openset.threshold import decide


@dataclass(frozen=True)
class Answers:
    """What a head said about n images.

    Parameters
    ----------
    probabilities
        float64 array (n, origins).
    origins
        The true origin of each image: a str array (n,).
    scores
        The open-set score of each image, high is known: float64 array (n,). Left out: the maximum
        probability.
    """

    probabilities: np.ndarray
    origins: np.ndarray
    given_scores: InitVar[np.ndarray | None] = None
    scores: np.ndarray = field(init=False)

    def __post_init__(self, given_scores: np.ndarray | None) -> None:
        scores = self.probabilities.max(axis=1) if given_scores is None else given_scores
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        return len(self.origins)

    @property
    def predicted(self) -> np.ndarray:
        """The index of the most probable origin: int64 array (n,)."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    def labels(self, known: Sequence[str]) -> np.ndarray:
        """The index of each image's true origin among ``known``: int64 array (n,)."""
        return label_indices(self.origins, known)


@dataclass(frozen=True)
class UnknownResult:
    """How one unknown generator, or a group of them, is told from the known origins.

    ``taken_for`` is the known origin that most of its images are nearest to (of equals the first),
    with the share of images it gets; ``rejected`` the share answered ``unknown`` at the model's
    threshold.
    """

    name: str
    images: int
    detection: Detection
    oscr: float
    mean_score: float
    taken_for: str
    taken_for_share: float
    rejected: float


@dataclass(frozen=True)
class Evaluation:
    """The result of :func:`evaluate`; all rates in [0, 1].

    Parameters
    ----------
    known_accepted, unknown_rejected
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
    closed: ClosedSet
    detection: Detection | None
    oscr: float | None
    threshold: float
    known_accepted: float
    unknown_rejected: float
    open_accuracy: float
    unknown: tuple[UnknownResult, ...]
    groups: tuple[UnknownResult, ...]
    synthetic: tuple[SyntheticResult, ...]


def label_indices(origins: np.ndarray, known: Sequence[str]) -> np.ndarray:
    """Origins (n,) as indices in ``known``; :class:`DataError` for one that is not there."""
    index = {origin: i for i, origin in enumerate(known)}
    stray = sorted(set(origins.tolist()) - set(index))
    if stray:
        raise DataError(f"{', '.join(stray)}: not among the known origins {', '.join(known)}.")
    return np.array([index[origin] for origin in origins.tolist()], dtype=np.int64)


def evaluate(
    known: Answers,
    unknown: Answers,
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
            detection=detection(known.scores, scores),
            oscr=oscr(known.scores, correct, scores),
            mean_score=float(scores.mean()),
            taken_for=origins[int(counts.argmax())],
            taken_for_share=float(counts.max() / counts.sum()),
            rejected=float(rejected[rows].mean()),
        )

    present = sorted(set(unknown.origins.tolist()))
    return Evaluation(
        origins=tuple(origins),
        known_images=len(known),
        unknown_images=len(unknown),
        closed=closed_set(known.probabilities, labels),
        detection=detection(known.scores, unknown.scores) if len(unknown) else None,
        oscr=oscr(known.scores, correct, unknown.scores) if len(unknown) else None,
        threshold=threshold,
        known_accepted=float(accepted.mean()),
        unknown_rejected=float(rejected.mean()) if len(unknown) else float("nan"),
        open_accuracy=float(np.concatenate([correct & accepted, rejected]).mean()),
        unknown=tuple(result(name, [name]) for name in present),
        groups=tuple(
            result(name, members)
            for name, members in (groups or {}).items()
            if set(members) & set(present)
        ),
        synthetic=synthetic_detection(
            (known.probabilities, known.origins), (unknown.probabilities, unknown.origins), origins
        ),
    )
