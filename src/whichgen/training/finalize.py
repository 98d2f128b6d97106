"""What every experiment ends with: a model, and how it did on the test images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from whichgen.data.dataset import Sample
from whichgen.data.families import assign_families
from whichgen.data.reading import make_thumbnail, read_image
from whichgen.errors import ImageError
from whichgen.evaluation.all_metrics import Evaluation, evaluate
from whichgen.evaluation.bootstrap import Interval, bootstrap_intervals
from whichgen.evaluation.calibration import CalibrationMetrics, calibration_metrics
from whichgen.evaluation.conformal import (
    CoverageMetrics,
    conformal_quantile,
    coverage_metrics,
    prediction_sets,
)
from whichgen.evaluation.hierarchical_accuracy import LevelResult, count_answers_by_level
from whichgen.evaluation.predictions import Predictions, label_indices
from whichgen.evaluation.protocols import Protocol
from whichgen.features.table import FeatureTable
from whichgen.heads.base import HeadOutput
from whichgen.models.origin_model import Calibration, Exemplars, OriginModel
from whichgen.openset.hierarchy import fit_hierarchy
from whichgen.openset.threshold import decide, threshold_at_tpr, tpr_interval
from whichgen.training.split_features import SplitFeatures

#: The coverage whose prediction sets are reported.
COVERAGE = 0.9

#: So many training and validation images of each origin a model keeps features of, at most.
EXEMPLARS_PER_ORIGIN = (50, 100)


@dataclass(frozen=True)
class EvaluatedModel:
    """A model on its test images.

    ``known`` and ``unknown`` are its answers about the images listed in ``known_table`` and
    ``unknown_table``; ``metric`` is what the choice was made by. ``intervals`` are of the headline
    figures (:func:`whichgen.evaluation.bootstrap.bootstrap`), ``calibration`` is of the
    probabilities of known test images, ``tpr_interval`` bounds the share of known images the
    threshold keeps (:func:`whichgen.openset.threshold.tpr_interval`), ``hierarchy`` of the
    answers above single generators, and ``coverage`` of prediction sets of known test images at
    :data:`COVERAGE`. ``images`` counts the images of each part by origin.
    """

    model: OriginModel
    protocol: Protocol
    metric: str
    evaluation: Evaluation
    intervals: Mapping[str, Interval]
    tpr_interval: tuple[float, float]
    calibration: CalibrationMetrics
    coverage: CoverageMetrics
    known: Predictions
    unknown: Predictions
    hierarchy: tuple[LevelResult, ...]
    known_table: FeatureTable
    unknown_table: FeatureTable
    images: Mapping[str, Mapping[str, int]]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]


def answers_of(model: OriginModel, table: FeatureTable) -> Predictions:
    """What a model says about a table's images."""
    return _forward(model, table)[1]


def _forward(model: OriginModel, table: FeatureTable) -> tuple[HeadOutput, Predictions]:
    """Run the head once on the images of a table."""
    output = model.head.forward(table.blocks(model.blocks))
    probabilities, scores = model.predict_from(output)
    return output, Predictions(probabilities, table.origins, scores)


def tested(
    draft: OriginModel,
    parts: SplitFeatures,
    protocol: Protocol,
    metric: str,
    *,
    thumbnails: bool = False,
) -> EvaluatedModel:
    """Sets a draft's threshold on known validation images, and tests it.

    Parameters
    ----------
    draft
        A model whose threshold and metrics do not count yet.
    thumbnails
        Keep small pictures of the exemplars.
    """
    val_output, val = _forward(draft, parts.tables["val"])
    families = assign_families((*draft.origins, *parts.dataset.unknown), parts.dataset.families)
    hierarchy = fit_hierarchy(
        val_output,
        val.labels(draft.origins),
        draft.origins,
        families,
        draft.tpr,
    )
    threshold = threshold_at_tpr(val.scores, draft.tpr)
    known_table, unknown_table = parts.tables[protocol.test_split], parts.tables["test_unknown"]
    known_output, known = _forward(draft, known_table)
    unknown_output, unknown = _forward(draft, unknown_table)
    labels = known.labels(draft.origins)
    quantile = conformal_quantile(val.probabilities, val.labels(draft.origins), COVERAGE)
    evaluation = evaluate(
        known,
        unknown,
        draft.origins,
        threshold=threshold,
        groups=parts.dataset.unknown_groups,
    )
    model = replace(
        draft,
        threshold=threshold,
        metrics=headline(evaluation),
        calibration=Calibration(val.probabilities, val.labels(draft.origins), val.scores),
        exemplars=select_exemplars(draft, parts, thumbnails=thumbnails),
        hierarchy=hierarchy,
    )
    answers = {
        "known": _coarse_origins(model, known_output, known),
        "unknown": _coarse_origins(model, unknown_output, unknown),
    }
    return EvaluatedModel(
        model=model,
        protocol=protocol,
        metric=metric,
        evaluation=evaluation,
        intervals=bootstrap_intervals(
            known,
            unknown,
            draft.origins,
            threshold=threshold,
            groups_known=known_table.groups,
            groups_unknown=unknown_table.groups,
        ),
        tpr_interval=tpr_interval(len(val), draft.tpr),
        calibration=calibration_metrics(known.probabilities, labels),
        coverage=coverage_metrics(prediction_sets(known.probabilities, quantile), labels),
        known=known,
        unknown=unknown,
        hierarchy=count_answers_by_level(answers, families),
        known_table=known_table,
        unknown_table=unknown_table,
        images=parts.counts,
        skipped=parts.skipped,
        notes=(*protocol.notes, *parts.dataset.notes),
    )


def _coarse_origins(
    model: OriginModel, output: HeadOutput, predictions: Predictions
) -> tuple[list[str], list[bool], list[str]]:
    """Return the most specific answers, whether each is a known origin, and the true origins."""
    decisions = decide(predictions.probabilities, predictions.scores, model.threshold)
    answers = model.coarse_origins(output, decisions)
    return answers, (decisions >= 0).tolist(), predictions.origins.tolist()


def select_exemplars(
    model: OriginModel, parts: SplitFeatures, seed: int = 0, *, thumbnails: bool = False
) -> Exemplars:
    """Features of :data:`EXEMPLARS_PER_ORIGIN` images of each origin, drawn at random."""
    rng = np.random.default_rng(seed)
    features, labels, held_out = [], [], []
    pictures: list[bytes] = []
    for part, most in zip(("train", "val"), EXEMPLARS_PER_ORIGIN, strict=True):
        table = parts.tables[part]
        rows = [
            rng.permutation(np.flatnonzero(table.origins == origin))[:most]
            for origin in model.origins
        ]
        taken = table.take(np.sort(np.concatenate(rows)))
        features.append(taken.blocks(model.blocks))
        labels.append(label_indices(taken.origins, model.origins))
        held_out.append(np.full(len(taken.samples), part == "val"))
        if thumbnails:
            pictures += [_thumbnail(sample) for sample in taken.samples]
    found = np.concatenate(features)
    narrow = np.abs(found).max() <= np.finfo(np.float16).max
    return Exemplars(
        found.astype(np.float16) if narrow else found,
        np.concatenate(labels),
        np.concatenate(held_out),
        tuple(pictures),
    )


def _thumbnail(sample: Sample) -> bytes:
    """A small picture, or nothing where the file is gone since its features were taken."""
    try:
        return make_thumbnail(read_image(sample.path))
    except ImageError:
        return b""


def headline(evaluation: Evaluation) -> dict[str, float | None]:
    """The figures a model file carries."""
    detection = evaluation.detection
    return {
        "accuracy": evaluation.closed.accuracy,
        "macro_f1": evaluation.closed.macro_f1,
        "auroc": detection.auroc if detection else None,
        "oscr": evaluation.oscr,
        "tnr_at_tpr95": detection.tnr_at_tpr95 if detection else None,
        "open_accuracy": evaluation.open_accuracy,
        **{
            f"synthetic_{figure}": getattr(found, figure)
            for found in evaluation.synthetic
            if found.name == "all"
            for figure in ("auroc", "average_precision")
        },
    }
