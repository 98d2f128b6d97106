"""How a model holds up under perturbations of the test images (paper, section 4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from whichgen.attribution.model import OriginModel
from whichgen.data.duplicates import Track, untracked
from whichgen.data.perturb import INTENSITIES, Perturbation, all_intensities
from whichgen.data.samples import Dataset
from whichgen.encoders.encoder import Encoder
from whichgen.errors import DataError
from whichgen.evaluation.evaluate import Evaluation, evaluate
from whichgen.experiments.parts import extract_parts
from whichgen.experiments.tested import answers_of
from whichgen.features.store import FeatureStore


@dataclass(frozen=True)
class RobustnessPoint:
    """Test figures under one perturbation; ``None`` is the images as they are.

    ``data_hash`` is a digest of the images tested, and ``skipped`` says which could not be.
    """

    perturbation: Perturbation | None
    evaluation: Evaluation
    data_hash: str
    skipped: tuple[str, ...]


def measure(
    model: OriginModel,
    dataset: Dataset,
    encoder: Encoder,
    store: FeatureStore,
    *,
    perturbation: Perturbation | None = None,
    track: Track = untracked,
) -> RobustnessPoint:
    """The metrics of a model on a data set's test images, each put through a perturbation.

    Raises
    ------
    DataError
        The data set's known origins are not the model's.
    """
    if set(dataset.known) != set(model.origins):
        raise DataError(
            f"the model knows {', '.join(model.origins)}, but the known origins of {dataset.name} "
            f"are {', '.join(dataset.known)}. Give the data set the model was fitted on, or one "
            "with the same known origins."
        )
    parts = extract_parts(
        dataset,
        encoder,
        store,
        parts=("test", "test_unknown"),
        perturbation=perturbation,
        track=track,
    )
    known, unknown = (answers_of(model, parts.tables[part]) for part in ("test", "test_unknown"))
    evaluation = evaluate(
        known,
        unknown,
        model.origins,
        threshold=model.threshold,
        groups=dataset.unknown_groups,
    )
    return RobustnessPoint(perturbation, evaluation, parts.data_hash, parts.skipped)


def robustness(
    model: OriginModel,
    dataset: Dataset,
    encoder: Encoder,
    store: FeatureStore,
    *,
    kinds: Sequence[str] = tuple(INTENSITIES),
    track: Track = untracked,
) -> Iterator[RobustnessPoint]:
    """The clean test first, then each kind at each of its five intensities."""
    for perturbation in (None, *all_intensities(kinds)):
        yield measure(model, dataset, encoder, store, perturbation=perturbation, track=track)


def mean_of_kind(points: Sequence[RobustnessPoint], kind: str, metric: str) -> float | None:
    """The mean of a figure over the five intensities of one kind (``accuracy``, ``auroc`` …)."""
    values = [
        value
        for point in points
        if point.perturbation is not None and point.perturbation.kind == kind
        if (value := figure_of(point.evaluation, metric)) is not None
    ]
    return fmean(values) if values else None


def figure_of(evaluation: Evaluation, metric: str) -> float | None:
    """``accuracy``, ``auroc`` or ``oscr`` of an evaluation; ``None`` without unknown images."""
    if metric == "accuracy":
        return evaluation.closed.accuracy
    if metric == "oscr":
        return evaluation.oscr
    return evaluation.detection.auroc if evaluation.detection else None
