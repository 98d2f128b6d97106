"""How a model holds up under perturbations of the test images (paper, section 4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from whichgen.data.dataset import Dataset
from whichgen.data.perturbations import INTENSITIES, Perturbation, list_perturbations
from whichgen.encoders.base import Encoder
from whichgen.errors import DataError
from whichgen.evaluation.all_metrics import Evaluation, evaluate
from whichgen.features.store import FeatureStore
from whichgen.models.origin_model import OriginModel
from whichgen.progress import Progress, no_progress
from whichgen.training.finalize import answers_of
from whichgen.training.split_features import extract_splits


@dataclass(frozen=True)
class RobustnessPoint:
    """Test figures under one perturbation; ``None`` is the images as they are.

    ``data_hash`` is a digest of the images tested, and ``skipped`` says which could not be.
    """

    perturbation: Perturbation | None
    evaluation: Evaluation
    data_hash: str
    skipped: tuple[str, ...]


def evaluate_perturbation(
    model: OriginModel,
    dataset: Dataset,
    encoder: Encoder,
    store: FeatureStore,
    *,
    perturbation: Perturbation | None = None,
    progress: Progress = no_progress,
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
    parts = extract_splits(
        dataset,
        encoder,
        store,
        parts=("test", "test_unknown"),
        perturbation=perturbation,
        progress=progress,
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


def evaluate_robustness(
    model: OriginModel,
    dataset: Dataset,
    encoder: Encoder,
    store: FeatureStore,
    *,
    kinds: Sequence[str] = tuple(INTENSITIES),
    progress: Progress = no_progress,
) -> Iterator[RobustnessPoint]:
    """The clean test first, then each kind at each of its five intensities."""
    for perturbation in (None, *list_perturbations(kinds)):
        yield evaluate_perturbation(
            model, dataset, encoder, store, perturbation=perturbation, progress=progress
        )


def mean_over_intensities(
    points: Sequence[RobustnessPoint], kind: str, metric: str
) -> float | None:
    """The mean of a figure over the five intensities of one kind (``accuracy``, ``auroc`` …)."""
    values = [
        value
        for point in points
        if point.perturbation is not None and point.perturbation.kind == kind
        if (value := get_metric(point.evaluation, metric)) is not None
    ]
    return fmean(values) if values else None


def get_metric(evaluation: Evaluation, metric: str) -> float | None:
    """``accuracy``, ``auroc`` or ``oscr`` of an evaluation; ``None`` without unknown images."""
    if metric == "accuracy":
        return evaluation.closed.accuracy
    if metric == "oscr":
        return evaluation.oscr
    return evaluation.detection.auroc if evaluation.detection else None
