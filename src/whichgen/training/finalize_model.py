"""Build a complete model from a selected head, and evaluate it on the test images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from whichgen.data.images.image_reader import measure_sizes
from whichgen.data.origins.families import assign_families
from whichgen.defaults import PRECISION
from whichgen.encoders.encoder import Encoder
from whichgen.evaluation.bootstrap import Interval, bootstrap_intervals
from whichgen.evaluation.calibration import CalibrationMetrics, compute_calibration_metrics
from whichgen.evaluation.conformal import (
    CoverageMetrics,
    compute_conformal_quantile,
    compute_coverage_metrics,
    compute_prediction_sets,
)
from whichgen.evaluation.evaluate_predictions import Evaluation, evaluate
from whichgen.evaluation.hierarchical_accuracy import LevelResult, count_answers_by_level
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.protocols import Protocol
from whichgen.features.table import FeatureTable
from whichgen.heads.head import Head
from whichgen.heads.softmax import softmax
from whichgen.io.run_metadata import collect_run_metadata
from whichgen.models.origin_model import Calibration, OriginModel
from whichgen.openset.hierarchy import fit_hierarchy
from whichgen.openset.score import OpenSetScore
from whichgen.openset.score_registry import MAX_PROBABILITY
from whichgen.openset.threshold import choose_threshold, compute_tpr_interval, decide
from whichgen.training.exemplars import select_exemplars
from whichgen.training.held_out import (
    HeldOutImages,
    collect_training_sources,
    has_sources,
    predict_images,
    select_validation_tables,
)
from whichgen.training.selection import SelectionOptions
from whichgen.training.split_features import SplitFeatures

#: Target coverage of the prediction sets in reports.
COVERAGE = 0.9


@dataclass(frozen=True)
class SelectedHead:
    """A fitted head with its selected settings, which become fields of :class:`OriginModel`.

    Parameters
    ----------
    head
        The head.
    head_method
        Name of the method that fitted the head.
    hyperparameter
        Value of the method's hyperparameter (C or k).
    blocks
        Indices of the encoder blocks whose features are concatenated for the head.
    score_method, score
        Name of the open-set score, and the fitted score.
    temperature
        Divisor of the logits before the softmax.
    """

    head: Head
    head_method: str
    hyperparameter: float
    blocks: tuple[int, ...]
    score_method: str = "max_probability"
    score: OpenSetScore = MAX_PROBABILITY
    temperature: float = 1.0


@dataclass(frozen=True)
class EvaluatedModel:
    """A model with its metrics and predictions on the test images.

    Parameters
    ----------
    model
        The complete model.
    features
        Features of all splits.
    protocol
        Protocol that defines the images for selection and for testing.
    metric
        The validation metric that selection maximized: ``AUC``, ``OSCR`` or ``accuracy``.
    evaluation
        Metrics of the test images.
    intervals
        95 % confidence interval of each headline metric and answer metric that is defined, by name.
    tpr_interval
        Bounds of the 95 % confidence interval for the fraction of new known images that are
        accepted at the threshold, in [0, 1]
        (:func:`whichgen.openset.threshold.compute_tpr_interval`).
    calibration
        Calibration metrics of the known test images.
    coverage
        Coverage and mean size of the prediction sets of known test images. The target coverage is
        :data:`COVERAGE`.
    known, unknown
        Predictions for the known and for the unknown test images.
    answers
        The answer for each known and then each unknown test image
        (:meth:`OriginModel.select_coarse_origins`).
    hierarchy
        Number of answers, and of correct answers, at each level, for known and for unknown images.
    """

    model: OriginModel
    features: SplitFeatures
    protocol: Protocol
    metric: str
    evaluation: Evaluation
    intervals: Mapping[str, Interval]
    tpr_interval: tuple[float, float]
    calibration: CalibrationMetrics
    coverage: CoverageMetrics
    known: Predictions
    unknown: Predictions
    answers: tuple[str, ...]
    hierarchy: tuple[LevelResult, ...]


def predict_table(
    model: OriginModel, table: FeatureTable
) -> tuple[Predictions, tuple[list[str], list[bool], list[str]]]:
    """Predict the origins of the images in a feature table.

    Parameters
    ----------
    model
        The model.
    table
        Features of n images from the model's encoder.

    Returns
    -------
    predictions
        Probabilities, true origins, open-set scores, groups and sources of the images.
    answers
        Tuple of three lists for :func:`count_answers_by_level`: the answer for each image, whether
        the image is accepted as a known origin, and its true origin.

    Raises
    ------
    StoreError
        The features can't be read.
    """
    output = model.head.forward(table.read_blocks(model.blocks))
    probabilities, scores = model.predict_from(output)
    decisions = decide(probabilities, scores, model.threshold)
    answers = model.select_coarse_origins(output, decisions)
    predictions = Predictions(probabilities, table.origins, scores, table.groups, table.sources)
    return predictions, (answers, (decisions >= 0).tolist(), table.origins.tolist())


def finalize_model(
    selected: SelectedHead,
    features: SplitFeatures,
    encoder: Encoder,
    options: SelectionOptions,
    *,
    config: Mapping[str, Any] | None = None,
    held_out: HeldOutImages | None = None,
) -> OriginModel:
    """Build the complete model: add threshold, hierarchy, calibration and exemplars to a head.

    Threshold, hierarchy and calibration are computed on held-out images. The threshold is chosen by
    true-positive rate or, if all training images have sources or ``options.precision`` is set, by
    precision and false-positive rate (:func:`~whichgen.openset.threshold.choose_threshold`). The
    hierarchy depends on the same rates (:func:`~whichgen.openset.hierarchy.fit_hierarchy`).

    Parameters
    ----------
    selected
        The selected head with its blocks, open-set score and temperature.
    features
        Features of all splits; test images are used only for the model's ``data_hash``.
    encoder
        The encoder that computed the features.
    options
        Options of the selection.
    config
        Configuration to store in the model's run metadata.
    held_out
        Predictions for the held-out images; by default, for all validation images, known and
        unknown.

    Returns
    -------
    OriginModel
        The model, without test metrics.

    Raises
    ------
    FitError
        There are no held-out images of known origins.
    DataError
        SOURCE_DATE_EPOCH is not a valid time.
    StoreError
        The features or the facts about the images can't be read or written.
    """
    origins, dataset = features.dataset.known, features.dataset
    if held_out is None:
        held_out = predict_images(
            select_validation_tables(features), selected.head, selected.score, selected.blocks
        )
    families = assign_families((*origins, *dataset.unknown), dataset.families)
    precision = options.precision or (PRECISION if has_sources(features) else None)
    known, tpr = held_out.known, options.tpr
    threshold = choose_threshold(
        held_out.scores,
        held_out.output.logits.argmax(axis=1),
        held_out.labels,
        origins,
        tpr=tpr,
        precision=precision,
        fpr=options.fpr,
    )
    if precision is not None:
        tpr = max(float((known.scores >= threshold).mean()), 1 / len(known.scores))
    images = known if precision is None else held_out
    hierarchy = fit_hierarchy(
        *(images.output, images.labels, origins, families, options.tpr),
        fpr=None if precision is None else options.fpr,
        precision=precision,
        true_families=np.array([families.get(o, "") for o in images.origins.tolist()]),
    )
    all_have_sources = bool((known.sources != "").all())
    sources = np.unique(known.sources, return_inverse=True)[1] if all_have_sources else None
    probabilities = softmax(known.output.logits / selected.temperature, axis=1)
    run_metadata = collect_run_metadata(
        {**(config or {}), "protocol": options.protocol, "metric": options.metric},
        seeds={"seed": options.seed},
        encoder=encoder.describe(),
        data_hash=features.data_hash,
    )
    if training_sources := collect_training_sources(features):
        run_metadata["training_sources"] = asdict(training_sources)
    if training_sizes := measure_sizes(dataset.train, features.reader):
        run_metadata["training_sizes"] = asdict(training_sizes)
    return OriginModel(
        origins=origins,
        encoder=encoder.describe(),
        threshold=threshold,
        tpr=tpr,
        data_hash=features.data_hash,
        metrics={},
        run_metadata=run_metadata,
        calibration=Calibration(probabilities, known.labels, known.scores, sources),
        exemplars=select_exemplars(features, selected.blocks, thumbnails=options.thumbnails),
        hierarchy=hierarchy,
        **vars(selected),
    )


def evaluate_model(
    model: OriginModel, features: SplitFeatures, protocol: Protocol, options: SelectionOptions
) -> EvaluatedModel:
    """Evaluate a complete model on the test images of a protocol.

    The result contains a copy of ``model`` with the test metrics and, if the test images have
    sources, their overlap with the training sources.

    Parameters
    ----------
    model
        The model to evaluate.
    features
        Features of all splits.
    protocol
        Protocol that defines the test images.
    options
        Options of the selection, of which only ``metric`` is used; it is copied to the result.

    Raises
    ------
    DataError
        There are no known test images, or one has an origin that the model does not know.
    StoreError
        The features can't be read.
    """
    dataset, origins = features.dataset, model.origins
    known_table, unknown_table = features.select_test_tables(protocol)
    known, known_answers = predict_table(model, known_table)
    unknown, unknown_answers = predict_table(model, unknown_table)
    labels = known.get_labels(origins)
    val_predictions = model.calibration
    quantile = compute_conformal_quantile(
        val_predictions.probabilities, val_predictions.labels, COVERAGE, val_predictions.sources
    )
    answers = (*known_answers[0], *unknown_answers[0])
    evaluation = evaluate(
        known,
        unknown,
        origins,
        threshold=model.threshold,
        groups=dataset.unknown_groups,
        answers=answers,
        training_sources=model.training_sources,
    )
    run_metadata = dict(model.run_metadata)
    if evaluation.source_overlap:
        run_metadata["test_sources"] = asdict(evaluation.source_overlap)
    return EvaluatedModel(
        model=replace(model, metrics=evaluation.metrics, run_metadata=run_metadata),
        features=features,
        protocol=protocol,
        metric=options.metric,
        evaluation=evaluation,
        intervals=bootstrap_intervals(
            known, unknown, origins, threshold=model.threshold, answers=answers
        ),
        tpr_interval=compute_tpr_interval(len(val_predictions.labels), model.tpr),
        calibration=compute_calibration_metrics(known.probabilities, labels),
        coverage=compute_coverage_metrics(
            compute_prediction_sets(known.probabilities, quantile), labels
        ),
        known=known,
        unknown=unknown,
        answers=answers,
        hierarchy=count_answers_by_level(
            {"known": known_answers, "unknown": unknown_answers},
            assign_families((*origins, *dataset.unknown), dataset.families),
        ),
    )
