"""Tables of results of runs and evaluations, for the command line, reports and the HTML page.

Rates are formatted in percent; undefined rates are shown as a dash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whichgen.constants import UNKNOWN
from whichgen.evaluation.bootstrap import Interval
from whichgen.evaluation.evaluate_predictions import TITLES, Evaluation
from whichgen.evaluation.source_counts import SourceResult
from whichgen.io.result_files import Row, format_rate
from whichgen.phrases import format_count
from whichgen.report.run_reader import Run
from whichgen.training.selection import FusionCandidate
from whichgen.training.shortcut_check import ShortcutReport

#: Metrics in tables and plots of blocks, fusion candidates, perturbations, low-data experiments and
#: shortcuts: key and title of the column.
METRICS = {"accuracy": "accuracy", "auroc": "AUROC", "oscr": "OSCR"}
_VALIDATION = {key: f"val {title}" for key, title in METRICS.items()}
_TEST = {f"test_{key}": f"test {title}" for key, title in METRICS.items()}

#: Metrics that are computed only on the known or only on the unknown test images.
_KNOWN_ONLY = ("accuracy", "macro_f1", "macro_recall", "acceptance_rate")
_UNKNOWN_ONLY = ("rejection_rate",)


@dataclass(frozen=True)
class Metric:
    """A headline metric or answer metric of a test set.

    Parameters
    ----------
    key, title
        Key and title in :data:`~whichgen.evaluation.evaluate_predictions.TITLES`.
    value
        Value in [0, 1]; ``None`` if undefined.
    interval
        95 % bootstrap interval; ``None`` if it is not available.
    images
        Number of test images on which the metric is computed; for an answer metric, its denominator
        (:attr:`~whichgen.evaluation.evaluate_predictions.AnswerRate.images`).
    """

    key: str
    title: str
    value: float | None
    interval: Interval | None
    images: int


def list_metrics(evaluation: Evaluation, intervals: Mapping[str, Interval]) -> list[Metric]:
    """Return the headline metrics and answer metrics of a test set, in the order of :data:`TITLES`.

    Undefined metrics are included with the value ``None``. ``intervals`` maps the key of a metric
    to its 95 % bootstrap interval; keys can be missing.
    """
    known, unknown = evaluation.known_images, evaluation.unknown_images
    images = dict.fromkeys(TITLES, known + unknown)
    images |= dict.fromkeys(_KNOWN_ONLY, known) | dict.fromkeys(_UNKNOWN_ONLY, unknown)
    images |= {key: rate.images for key, rate in evaluation.answers.items()}
    return [
        Metric(key, TITLES[key], value, intervals.get(key), images[key])
        for key, value in evaluation.metrics.items()
    ]


def tabulate_metrics(
    evaluation: Evaluation, intervals: Mapping[str, Interval] | None = None
) -> list[Row]:
    """Return one row per headline metric or answer metric: title, percentage and number of images.

    ``intervals`` maps the key of a metric to its 95 % bootstrap interval. The rows have a column of
    intervals, unless ``intervals`` is ``None`` or empty.
    """
    return _format_metrics(list_metrics(evaluation, intervals or {}), bool(intervals))


def tabulate_answer_metrics(evaluation: Evaluation, intervals: Mapping[str, Interval]) -> list[Row]:
    """Return one row per answer metric, in the format of :func:`tabulate_metrics`."""
    metrics = list_metrics(evaluation, intervals)
    return _format_metrics([m for m in metrics if m.key in evaluation.answers], bool(intervals))


def _format_metrics(metrics: Sequence[Metric], with_intervals: bool) -> list[Row]:
    return [
        {
            "metric": metric.title,
            "%": format_rate(metric.value),
            **({"95 % interval": format_interval(metric.interval)} if with_intervals else {}),
            "images": metric.images,
        }
        for metric in metrics
    ]


def format_percentages(values: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    """Format rates in [0, 1] as percentages; ``columns`` maps the rates' keys to column titles."""
    return {title: format_rate(values[key]) for key, title in columns.items()}


def format_interval(interval: Interval | None) -> str:
    """Format an interval with bounds in [0, 1] in percent; return "" for ``None`` or NaN bounds."""
    if interval is None or np.isnan([interval.low, interval.high]).any():
        return ""
    return f"{format_rate(interval.low)} – {format_rate(interval.high)}"


def tabulate_run_comparison(runs: Mapping[str, Run]) -> list[Row]:
    """Return one row per headline metric or answer metric: value and 95 % interval of each run.

    ``runs`` maps the title of a column to its run. Missing metrics are shown as a dash.
    """
    rows: dict[str, dict[str, str]] = {}
    for label, run in runs.items():
        for row in tabulate_metrics(run.results.test, run.results.intervals):
            empty = {"metric, %": row["metric"], **dict.fromkeys(runs, "–")}
            cell = f"{row['%']} ({row['95 % interval']})".removesuffix(" ()")
            rows.setdefault(row["metric"], empty)[label] = cell
    return list(rows.values())


def tabulate_unknown_generators(evaluation: Evaluation) -> list[Row]:
    """Return one row of metrics per unknown generator, then one per group of unknown generators.

    Rates are in percent; the range of the mean open-set score depends on the type of score. The
    nearest known origin is the most frequent prediction without rejection, and its share is the
    percentage of images with this prediction.
    """
    return [
        {
            "unknown": result.name,
            "images": result.images,
            "AUROC": format_rate(result.detection.auroc),
            "OSCR": format_rate(result.oscr),
            "rejected, 95 % known accepted": format_rate(result.detection.tnr_at_tpr95),
            "rejected": format_rate(result.rejection_rate),
            "mean score": f"{result.mean_score:.6g}",
            "nearest known origin": result.top_prediction,
            "share": format_rate(result.top_prediction_share),
        }
        for result in (*evaluation.unknown, *evaluation.groups)
    ]


def tabulate_origins(run: Run) -> list[Row]:
    """Return one row per known origin: metrics, acceptance rate and most frequent wrong prediction.

    Precision, recall, F1 and the most frequent wrong prediction are without rejection (closed set).
    The acceptance rate is the fraction of the origin's test images with a score at or above the
    threshold. Rates are in percent.
    """
    confusion = np.array(run.results.test.closed.confusion)
    n_correct, n_true, n_predicted = (
        np.diag(confusion),
        confusion.sum(axis=1),
        confusion.sum(axis=0),
    )
    n_accepted = count_confusions(run)[2][: len(n_true), :-1].sum(axis=1)
    errors = confusion - np.diag(n_correct)
    with np.errstate(invalid="ignore"):  # origins without images have NaN, shown as a dash
        rates = {
            "precision": n_correct / n_predicted,
            "recall": n_correct / n_true,
            "F1": 2 * n_correct / (n_true + n_predicted),
            "accepted": n_accepted / n_true,
        }
    return [
        {
            "origin": origin,
            "images": int(n_true[i]),
            **{title: format_rate(rate[i]) for title, rate in rates.items()},
            "most frequent error": run.origins[errors[i].argmax()] if errors[i].any() else "–",
        }
        for i, origin in enumerate(run.origins)
    ]


def count_confusions(run: Run) -> tuple[list[str], list[str], np.ndarray]:
    """Compute the confusion matrix of all test images, with rejection at the threshold.

    Returns
    -------
    rows, columns
        The true origins (known origins, then unknown generators) and the possible predictions
        (known origins, then ``unknown``).
    counts
        ``counts[i, j]`` is the number of images of ``rows[i]`` that are predicted as
        ``columns[j]``: int64 array (len(rows), len(columns)).
    """
    rows = [*run.origins, *sorted(set(run.unknown.origins.tolist()))]
    counts = np.zeros((len(rows), len(run.origins) + 1), dtype=np.int64)
    for predictions in (run.known, run.unknown):
        # The decision -1, unknown, is the last column.
        np.add.at(counts, (predictions.get_labels(rows), run.decide(predictions)), 1)
    return rows, [*run.origins, UNKNOWN], counts


def tabulate_synthetic_detection(evaluation: Evaluation) -> list[Row]:
    """Return one row per set of synthetic images: AUROC and average precision vs. real images.

    The sets are the test images of known generators, of unknown generators and of both. Sets
    without images are omitted; there are no rows without real images.
    """
    columns = {"auroc": "AUROC", "average_precision": "average precision"}
    return [
        {"synthetic images": r.name, "images": r.images, **format_percentages(vars(r), columns)}
        for r in evaluation.synthetic
    ]


def tabulate_sources(results: Sequence[SourceResult]) -> list[Row]:
    """Return one row per source of each origin, with the counts of :class:`SourceResult`."""
    return [
        {
            "origin": result.origin,
            "source": result.source,
            "images": result.images,
            "most probable origin correct": result.correct,
            "called synthetic": result.called_synthetic,
            "generator named": result.named,
            "named correctly": result.named_correct,
        }
        for result in results
    ]


def describe_intervals(evaluation: Evaluation, unit: str) -> str:
    """Return a note on the resampling of the confidence intervals of an evaluation.

    ``unit`` is :attr:`whichgen.evaluation.predictions.Predictions.unit_name` of the predictions.
    """
    units = {
        "images": "test images",
        "groups of images": "groups of test images",
        "sources": "test sources",
    }[unit]
    if unit == "sources" and evaluation.source_overlap:
        units = f"the {format_count(evaluation.source_overlap.sources, 'test source')}"
    return (
        f"95 % bootstrap intervals over {units}. They do not include the variation over splits or "
        "unknown generators."
    )


def tabulate_hierarchy(run: Run) -> list[Row]:
    """Return the number of answers, and the percentage of correct answers, at each level.

    There is one row for each type of test images (``known`` or ``unknown``) and each level
    (:data:`whichgen.evaluation.hierarchical_accuracy.LEVELS`) with at least one answer. The
    percentage is a dash at the level ``nothing``.
    """
    return [
        {
            "test images": result.images,
            "most specific answer": result.level,
            "images": result.count,
            "correct": format_rate(
                None if result.correct is None else result.correct / result.count
            ),
        }
        for result in run.results.hierarchy
        if result.count
    ]


def tabulate_blocks(run: Run) -> list[Row]:
    """Return one row per block: its best hyperparameter value, validation and test metrics.

    There are no rows for a fusion.
    """
    parameter = run.results.selection.parameter
    columns = {f"val_{key}": title for key, title in _VALIDATION.items()} | _TEST
    return [
        {"block": b.block, parameter: f"{b.value:.4g}", **format_percentages(vars(b), columns)}
        for b in run.results.blocks
    ]


def tabulate_fusion_candidates(
    candidates: Sequence[FusionCandidate], first_column: str
) -> list[Row]:
    """Return one row per candidate for a fusion: its settings, validation and test metrics.

    Parameters
    ----------
    candidates
        The candidates, in the order of the rows.
    first_column
        The setting in the first column: ``members`` (the fused encoders) or ``score`` (the open-set
        score).
    """
    return [
        {
            first_column: getattr(candidate, first_column),
            "C": f"{candidate.value:g}",
            "shrinkage": f"{candidate.shrinkage:g}",
            **format_percentages(vars(candidate), _VALIDATION | _TEST),
        }
        for candidate in candidates
    ]


def tabulate_experts(run: Run) -> list[Row]:
    """Return one row per expert of a fusion: its members and validation metrics.

    An expert is the classifier for one kind of perturbation or for unperturbed images (``none``).
    There are no rows if the run is not a fusion or has no experts.
    """
    return [
        {
            "perturbation": expert.perturbation or "none",
            "members": expert.members,
            **format_percentages(vars(expert), _VALIDATION),
        }
        for expert in run.results.experts
    ]


def tabulate_splits(run: Run) -> list[Row]:
    """Return one row per origin: its type, and the number of its images in each split.

    The type is ``known`` or ``unknown``. The known origins are first.
    """
    images = run.results.images
    unknown = set().union(*images.values()) - set(run.origins)
    return [
        {
            "origin": origin,
            "type": "unknown" if origin in unknown else "known",
            **{split: counts.get(origin, 0) for split, counts in images.items()},
        }
        for origin in (*run.origins, *sorted(unknown))
    ]


def tabulate_shortcuts(report: ShortcutReport, evaluation: Evaluation | None = None) -> list[Row]:
    """Return one row of metrics per set of file properties from which the origin is predicted.

    If ``evaluation`` is not ``None``, a last row shows the test metrics of the model for
    comparison.
    """
    predictors = [(result.properties, vars(result)) for result in report.sets]
    if evaluation:
        metrics = evaluation.metrics | {"balanced_accuracy": evaluation.closed.macro_recall}
        predictors.append(("the image (this model)", metrics))
    columns = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"} | METRICS
    return [{"predicted from": name, **format_percentages(m, columns)} for name, m in predictors]
