"""Robustness of a model to perturbations of the test images (paper, section 4)."""

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
from whichgen.training.finalize import predict_table
from whichgen.training.split_features import extract_splits


@dataclass(frozen=True)
class RobustnessPoint:
    """Test metrics under one perturbation, or on unchanged images (``None``).

    ``data_hash`` is a digest of the test images; ``skipped`` holds the error message of each
    unreadable file.
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
    """Evaluate a model on a dataset's test images after a perturbation.

    Raises
    ------
    DataError
        The dataset's known origins are not the model's.
    """
    if set(dataset.known) != set(model.origins):
        raise DataError(
            f"the model knows {', '.join(model.origins)}, but the known origins of {dataset.name} "
            f"are {', '.join(dataset.known)}. Give the dataset the model was fitted on, or one "
            "with the same known origins."
        )
    features = extract_splits(
        dataset,
        encoder,
        store,
        splits=("test", "test_unknown"),
        perturbation=perturbation,
        progress=progress,
    )
    evaluation = evaluate(
        predict_table(model, features.tables["test"]),
        predict_table(model, features.tables["test_unknown"]),
        model.origins,
        threshold=model.threshold,
        groups=dataset.unknown_groups,
    )
    return RobustnessPoint(perturbation, evaluation, features.data_hash, features.skipped)


def evaluate_robustness(
    model: OriginModel,
    dataset: Dataset,
    encoder: Encoder,
    store: FeatureStore,
    *,
    kinds: Sequence[str] = tuple(INTENSITIES),
    progress: Progress = no_progress,
) -> Iterator[RobustnessPoint]:
    """Evaluate unchanged images, then each kind of perturbation at each intensity."""
    for perturbation in (None, *list_perturbations(kinds)):
        yield evaluate_perturbation(
            model, dataset, encoder, store, perturbation=perturbation, progress=progress
        )


def mean_over_intensities(
    points: Sequence[RobustnessPoint], kind: str, metric: str
) -> float | None:
    """Average a metric (``accuracy``, ``auroc`` or ``oscr``) over the intensities of one kind."""
    values = [
        value
        for point in points
        if point.perturbation is not None and point.perturbation.kind == kind
        if (value := get_metric(point.evaluation, metric)) is not None
    ]
    return fmean(values) if values else None


def get_metric(evaluation: Evaluation, metric: str) -> float | None:
    """Return ``accuracy``, ``auroc`` or ``oscr``; ``None`` if it needs unknown images."""
    if metric == "accuracy":
        return evaluation.closed.accuracy
    if metric == "oscr":
        return evaluation.oscr
    return evaluation.detection.auroc if evaluation.detection else None
