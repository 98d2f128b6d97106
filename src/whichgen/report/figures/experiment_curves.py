"""Figures and tables of experiments: robustness, low-data and few-shot curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whichgen.data.images.perturbations import INTENSITIES
from whichgen.experiments.few_shot import FewShotPoint
from whichgen.experiments.low_data import LowDataPoint
from whichgen.experiments.robustness import RobustnessPoint, average_over_intensities
from whichgen.io.result_files import Row, format_rate
from whichgen.report.figures.style import Plot, create_axes, get_color, style_axes
from whichgen.report.result_tables import METRICS, format_percentages

#: Metrics of the table of perturbations: key and column title.
_ROBUSTNESS_METRICS = METRICS | {
    "acceptance_rate": "known accepted",
    "rejection_rate": "unknown rejected",
}

#: Metrics of the few-shot curves: attribute and title in the legend.
_FEW_SHOT_METRICS = {
    "recall": "new generator: recall",
    "accepted": "new generator: correct and accepted",
    "accuracy_after": "other origins: accuracy",
}


def plot_robustness(points: Sequence[RobustnessPoint]) -> Plot:
    """Plot test metrics against the intensity of perturbations, one panel per kind.

    ``points`` must include the metrics on unperturbed images (``perturbation`` is ``None``), which
    are drawn as dotted lines. A metric that is undefined for unperturbed images is omitted; one
    that is undefined for some intensity of a kind is omitted from the panel of this kind.
    """
    perturbed_metrics = [(p.perturbation, p.test.metrics) for p in points if p.perturbation]
    unperturbed_metrics = next(p.test.metrics for p in points if p.perturbation is None)
    kinds = list(dict.fromkeys(perturbation.kind for perturbation, _ in perturbed_metrics))
    columns = min(2, max(1, len(kinds)))
    rows = -(-max(1, len(kinds)) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.1 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for panel in panels[len(kinds) or 1 :]:
        panel.axis("off")
    for panel, kind in zip(panels, kinds, strict=False):
        kind_points = [(p, metrics) for p, metrics in perturbed_metrics if p.kind == kind]
        style_axes(panel, kind, kind_points[0][0].unit, "%")
        for i, (metric, name) in enumerate(METRICS.items()):
            reference = unperturbed_metrics[metric]
            values = [metrics[metric] for _, metrics in kind_points]
            if reference is None or None in values:
                continue
            y = [100 * value for value in values if value is not None]
            panel.plot(
                [p.value for p, _ in kind_points], y, "o-", ms=4, color=get_color(i), label=name
            )
            panel.axhline(100 * reference, color=get_color(i), ls=":", lw=1)
        if INTENSITIES[kind][0] > INTENSITIES[kind][-1]:
            panel.invert_xaxis()  # stronger perturbations to the right
        panel.set_ylim(0, 102)
    if kinds:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=3)
    return Plot(
        "robustness",
        "Robustness",
        figure,
        "Metrics on perturbed test images. Perturbations are stronger toward the right (resize: "
        "from smaller to larger). Dotted lines: unperturbed images.",
        tabulate_robustness(points),
    )


def plot_low_data(points: Sequence[LowDataPoint]) -> Plot:
    """Plot test metrics against the number of training images per class.

    Lines show the means over seeds, and bands the sample standard deviations. A metric that is
    undefined for some point is omitted.
    """
    title = "Low-data regime (mean ± SD over seeds)"
    figure, ax = create_axes(title, "training images per class", "%", size=(5.6, 4.2))
    counts = [p.samples_per_class for p in points]
    for i, (metric, name) in enumerate(METRICS.items()):
        values = [getattr(p, metric) for p in points]
        if None not in values:
            sizes, mean, deviation = _plot_means(
                ax, counts, values, fmt="o-", ms=4, color=get_color(i), label=name
            )
            low, high = mean - deviation, mean + deviation
            ax.fill_between(sizes, low, high, color=get_color(i), alpha=0.18, lw=0)
    _style_count_axis(ax, counts)
    ax.legend(fontsize=8, loc="lower right")
    return Plot(
        "lowdata",
        "Low-data regime",
        figure,
        "Test metrics in percent, mean ± standard deviation over seeds. Only the training set is "
        "reduced.",
        tabulate_low_data(points),
    )


def plot_few_shot(points: Sequence[FewShotPoint]) -> Plot:
    """Plot metrics of the new generator and other origins against the number of enrolled images.

    Lines with markers show means over generators and seeds: recall of the new generator, the
    fraction of its images that are classified correctly and accepted, and accuracy of the other
    origins. Each thin line shows the recall of one generator, averaged over seeds. The dotted line
    shows the accuracy of the other origins before enrollment.
    """
    title = "Enrolling a new generator from a few images"
    figure, ax = create_axes(title, "enrolled images", "%", size=(5.6, 4.2))
    counts = [p.images for p in points]
    for generator in sorted({p.generator for p in points}):
        recalls = [(p.images, p.recall) for p in points if p.generator == generator]
        _plot_means(ax, *zip(*recalls, strict=True), color=get_color(0), lw=0.8, alpha=0.35)
    for i, (metric, name) in enumerate(_FEW_SHOT_METRICS.items()):
        values = [getattr(p, metric) for p in points]
        _plot_means(ax, counts, values, fmt="o-", ms=4, color=get_color(i), label=name)
    ax.axhline(100 * points[0].accuracy_before, color=get_color(2), ls=":", lw=1)
    _style_count_axis(ax, counts)
    title = "thin: recall of one generator; dotted: before enrollment"
    ax.legend(fontsize=8, title=title, title_fontsize=8)
    return Plot(
        "fewshot",
        "Few-shot enrollment",
        figure,
        "Each unknown generator is enrolled separately, including the generators in the validation "
        "set, which were used to select the model. Recall: fraction of the new generator's test "
        "images whose most probable origin is the new generator. Accepted: fraction whose score "
        "also reaches the threshold. AUROC: known origins and the new generator vs. the remaining "
        "unknown generators. All in percent, mean ± standard deviation over generators and seeds; "
        "larger numbers of images are available for fewer generators. Accuracy change and worst "
        "change: mean and minimum of the change in closed-set accuracy of the other origins, in "
        "percentage points.",
        tabulate_few_shot(points),
    )


def _plot_means(
    ax: Axes, counts: Sequence[int], rates: Sequence[float], *, fmt: str = "-", **style: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Plot the mean rate, in percent, against the number of images.

    Parameters
    ----------
    ax
        The axes to draw on.
    counts, rates
        Number of images and rate, in [0, 1], of each measurement.
    fmt, style
        Format string and line properties for :meth:`matplotlib.axes.Axes.plot`.

    Returns
    -------
    counts, mean, deviation
        The m distinct numbers of images in ascending order, and the mean and the sample standard
        deviation of the rates for each, in percent: arrays (m,). The deviation of a single rate is
        0.
    """
    x = np.unique(counts)
    groups = [100 * np.array(rates)[np.equal(counts, count)] for count in x]
    mean = np.array([group.mean() for group in groups])
    deviation = np.array([group.std(ddof=1) if len(group) > 1 else 0 for group in groups])
    ax.plot(x, mean, fmt, **style)
    return x, mean, deviation


def _style_count_axis(ax: Axes, counts: Sequence[int]) -> None:
    """Use a logarithmic x axis with ticks at the image counts, and a y axis from 0 to 102 %."""
    ax.set_xscale("log")
    ticks = sorted(set(counts))
    ax.set_xticks(ticks, list(map(str, ticks)))
    ax.minorticks_off()
    ax.set_ylim(0, 102)


def list_robustness_metrics(points: Sequence[RobustnessPoint]) -> list[Row]:
    """Return one row of metrics, in [0, 1] or ``None`` if undefined, per perturbation.

    The perturbation ``none`` stands for unperturbed images.
    """
    return [
        {
            "perturbation": str(point.perturbation or "none"),
            **{key: point.test.metrics[key] for key in _ROBUSTNESS_METRICS},
        }
        for point in points
    ]


def tabulate_robustness(points: Sequence[RobustnessPoint]) -> list[Row]:
    """Return one row of metrics, in percent, per perturbation.

    The perturbation ``none`` stands for unperturbed images.
    """
    return [
        {"perturbation": row["perturbation"], **format_percentages(row, _ROBUSTNESS_METRICS)}
        for row in list_robustness_metrics(points)
    ]


def tabulate_mean_robustness(points: Sequence[RobustnessPoint]) -> list[Row]:
    """Return one row per kind of perturbation: metrics averaged over intensities, in percent."""
    kinds = dict.fromkeys(p.perturbation.kind for p in points if p.perturbation)
    return [
        {
            "mean over five intensities": kind,
            **{
                t: format_rate(average_over_intensities(points, kind, key))
                for key, t in METRICS.items()
            },
        }
        for kind in kinds
    ]


def tabulate_low_data(points: Sequence[LowDataPoint]) -> list[Row]:
    """Return one row of test metrics per number of training images per class.

    Metrics are formatted as mean ± sample standard deviation over seeds, in percent.
    """
    rows: list[Row] = []
    for size in sorted({p.samples_per_class for p in points}):
        group = [p for p in points if p.samples_per_class == size]
        metrics = {
            title: _format_spread([getattr(p, k) for p in group]) for k, title in METRICS.items()
        }
        rows.append({"images per class": size, "seeds": len(group), **metrics})
    return rows


def tabulate_few_shot(points: Sequence[FewShotPoint]) -> list[Row]:
    """Return one row of metrics per number of enrolled images.

    Recall, the fraction of correct and accepted images, and AUROC are formatted as mean ± sample
    standard deviation over generators and seeds, in percent. Two columns show the mean and the
    minimum of the change in accuracy for the other origins, in percentage points.
    """
    rows: list[Row] = []
    for images in sorted({p.images for p in points}):
        group = [p for p in points if p.images == images]
        changes = [100 * (p.accuracy_after - p.accuracy_before) for p in group]
        rows.append(
            {
                "images": images,
                "generators": len({p.generator for p in group}),
                "enrollments": len(group),
                "recall": _format_spread([p.recall for p in group]),
                "accepted": _format_spread([p.accepted for p in group]),
                "AUROC": _format_spread([p.auroc for p in group]),
                "accuracy change": f"{np.mean(changes):+.1f}",
                "worst change": f"{min(changes):+.1f}",
            }
        )
    return rows


def _format_spread(rates: Sequence[float | None]) -> str:
    """Format mean ± sample standard deviation of rates in [0, 1] as percentages.

    ``None`` is ignored; the result is a dash if there are no other values.
    """
    values = [100 * rate for rate in rates if rate is not None]
    if not values:
        return "–"
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.1f} ± {deviation:.1f}"
