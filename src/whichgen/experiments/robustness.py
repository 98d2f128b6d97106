"""Robustness of a model to perturbations of the test images (UniversalAttribution, section 4).

The intensities of each kind of perturbation, such as JPEG qualities, are listed in
:data:`whichgen.data.images.perturbations.INTENSITIES`. Training with perturbed copies uses the same
intensities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Annotated

from pydantic import BeforeValidator

from whichgen.data.dataset import Dataset
from whichgen.data.images.perturbations import (
    INTENSITIES,
    Perturbation,
    list_perturbations,
    parse_perturbation,
)
from whichgen.defaults import BATCH_SIZE
from whichgen.encoders.encoder import Encoder
from whichgen.errors import DataError
from whichgen.evaluation.bootstrap import Interval, bootstrap_intervals
from whichgen.evaluation.evaluate_predictions import Evaluation, evaluate
from whichgen.features.store import FeatureStore
from whichgen.models.origin_model import OriginModel
from whichgen.progress import Progress, no_progress
from whichgen.training.finalize_model import predict_table
from whichgen.training.split_features import extract_splits


@dataclass(frozen=True)
class RobustnessPoint:
    """Test metrics for one perturbation.

    Parameters
    ----------
    perturbation
        The perturbation of the test images; ``None`` for unchanged images.
    test
        Metrics of the test images with this perturbation.
    skipped
        Error message of each unreadable file.
    data_hash
        Digest of the content, perturbation, origin and split of every readable test image.
    intervals
        Confidence interval of each headline metric and answer metric that is defined, by name;
        empty if the intervals were not computed.
    unit
        Resampling unit of the intervals: ``sources``, ``groups of images`` or ``images``.
    """

    perturbation: Annotated[
        Perturbation | None, BeforeValidator(lambda text: text and parse_perturbation(text))
    ]
    test: Evaluation
    skipped: tuple[str, ...]
    data_hash: str = ""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    unit: str = "images"


def evaluate_perturbation(
    model: OriginModel,
    dataset: Dataset,
    encoder: Encoder,
    store: FeatureStore,
    *,
    perturbation: Perturbation | None = None,
    intervals: bool = False,
    batch_size: int = BATCH_SIZE,
    progress: Progress = no_progress,
) -> RobustnessPoint:
    """Evaluate a model on the test images of a dataset, optionally with a perturbation.

    Parameters
    ----------
    model
        The model to evaluate.
    dataset
        Dataset with the same known origins as the model.
    encoder
        The model's encoder.
    store
        Feature store of the encoder: existing features are read from it, and new features are added
        to it.
    perturbation
        Perturbation to apply to every test image; ``None`` for unchanged images.
    intervals
        Whether to compute confidence intervals, which takes much longer than the metrics.
    batch_size
        Number of images per forward pass.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    RobustnessPoint
        Metrics of the readable test images, and the errors of the unreadable ones.

    Raises
    ------
    DataError
        The known origins of the dataset and of the model differ, or a known origin has no readable
        test image.
    EncoderError
        A feature is not finite, memory is insufficient for a single image, or OpenVINO can't
        compile the network.
    StoreError
        The feature store can't be read or written.

    Warns
    -----
    WhichgenWarning
        Memory is insufficient for a batch; the batch size is halved.
    """
    if set(dataset.known) != set(model.origins):
        raise DataError(
            f"the known origins of the model are {', '.join(model.origins)}, but those of "
            f"{dataset.name} are {', '.join(dataset.known)}. Use a dataset with the same known "
            "origins."
        )
    features = extract_splits(
        dataset,
        encoder,
        store,
        splits=("test", "test_unknown"),
        perturbation=perturbation,
        batch_size=batch_size,
        progress=progress,
    )
    results = [predict_table(model, table) for table in features.tables.values()]
    (known, (known_answers, *_)), (unknown, (unknown_answers, *_)) = results
    answers = [*known_answers, *unknown_answers]
    evaluation = evaluate(
        known,
        unknown,
        model.origins,
        threshold=model.threshold,
        groups=dataset.unknown_groups,
        answers=answers,
        training_sources=model.training_sources,
    )
    point = RobustnessPoint(
        perturbation, evaluation, features.skipped, features.data_hash, unit=known.unit_name
    )
    if not intervals:
        return point
    metric_intervals = bootstrap_intervals(
        known, unknown, model.origins, threshold=model.threshold, answers=answers
    )
    return replace(point, intervals=metric_intervals)


def evaluate_robustness(
    model: OriginModel,
    dataset: Dataset,
    encoder: Encoder,
    store: FeatureStore,
    *,
    kinds: Sequence[str] = tuple(INTENSITIES),
    batch_size: int = BATCH_SIZE,
    progress: Progress = no_progress,
) -> Iterator[RobustnessPoint]:
    """Evaluate a model on unchanged test images, then on images with each perturbation.

    ``kinds`` are keys of :data:`~whichgen.data.images.perturbations.INTENSITIES`, which lists the
    intensities of each kind. The other parameters are those of :func:`evaluate_perturbation`.

    Yields
    ------
    RobustnessPoint
        Test metrics for unchanged images, then for each kind and intensity.

    Raises
    ------
    KeyError
        A kind does not exist.
    DataError, EncoderError, StoreError
        See :func:`evaluate_perturbation`.

    Warns
    -----
    WhichgenWarning
        See :func:`evaluate_perturbation`.
    """
    for perturbation in (None, *list_perturbations(kinds)):
        yield evaluate_perturbation(
            model,
            dataset,
            encoder,
            store,
            perturbation=perturbation,
            batch_size=batch_size,
            progress=progress,
        )


def average_over_intensities(
    points: Sequence[RobustnessPoint], kind: str, metric: str
) -> float | None:
    """Average a metric over the intensities of one kind of perturbation.

    Parameters
    ----------
    points
        Test metrics for several perturbations.
    kind
        Kind of perturbation whose intensities are averaged over.
    metric
        Key of :data:`~whichgen.evaluation.evaluate_predictions.TITLES`.

    Returns
    -------
    float or None
        Mean over the intensities for which the metric is defined; ``None`` if it is defined for
        none of them.
    """
    kind_values = [
        p.test.metrics.get(metric) for p in points if p.perturbation and p.perturbation.kind == kind
    ]
    values = [value for value in kind_values if value is not None]
    return fmean(values) if values else None
