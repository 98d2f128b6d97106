"""Figures of experiments: robustness, low-data and few-shot curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whichgen.data.perturbations import INTENSITIES
from whichgen.experiments.few_shot import FewShotPoint
from whichgen.experiments.low_data import LowDataPoint
from whichgen.experiments.robustness import RobustnessPoint, get_metric
from whichgen.report.figures.style import Plot, color, new_axes, style_axes
from whichgen.report.result_tables import METRICS

_FEW_SHOT_METRICS = {
    "recall": "new generator: recall",
    "accepted": "new generator: correct and accepted",
    "accuracy_after": "other origins: accuracy",
}


def robustness_plot(points: Sequence[RobustnessPoint]) -> Plot:
    """Plot metrics over intensity, one panel per kind of perturbation."""
    kinds = list(dict.fromkeys(p.perturbation.kind for p in points if p.perturbation))
    columns = min(2, max(1, len(kinds)))
    rows = -(-max(1, len(kinds)) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.1 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    unperturbed = next(p for p in points if p.perturbation is None)
    for panel in panels[len(kinds) or 1 :]:
        panel.axis("off")
    for panel, kind in zip(panels, kinds, strict=False):
        measured = [(p.perturbation, p) for p in points if p.perturbation]
        of_kind = [(perturbation, p) for perturbation, p in measured if perturbation.kind == kind]
        style_axes(panel, kind, of_kind[0][0].unit, "%")
        for i, (metric, name) in enumerate(METRICS.items()):
            values = [get_metric(p.evaluation, metric) for _, p in of_kind]
            reference = get_metric(unperturbed.evaluation, metric)
            if reference is None or None in values:
                continue
            x = [perturbation.value for perturbation, _ in of_kind]
            y = [100 * value for value in values if value is not None]
            panel.plot(x, y, "o-", ms=4, color=color(i), label=name)
            panel.axhline(100 * reference, color=color(i), ls=":", lw=1)
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
        "Test images after perturbation, stronger to the right (resize: smaller to larger). Dotted "
        "lines: the unperturbed images.",
    )


def low_data_plot(points: Sequence[LowDataPoint]) -> Plot:
    """Plot mean and standard deviation over seeds against the number of training images."""
    title = "Low-data regime (mean ± SD over seeds)"
    figure, ax = new_axes(title, "training images per class", "%", size=(5.6, 4.2))
    sizes = sorted({p.samples_per_class for p in points})
    for i, (metric, name) in enumerate(METRICS.items()):
        values = [
            [getattr(p, metric) for p in points if p.samples_per_class == size] for size in sizes
        ]
        if any(None in of_size for of_size in values):
            continue
        mean = 100 * np.array([np.mean(of_size) for of_size in values])
        deviation = 100 * np.array(
            [np.std(of_size, ddof=1) if len(of_size) > 1 else 0 for of_size in values]
        )
        ax.plot(sizes, mean, "o-", ms=4, color=color(i), label=name)
        ax.fill_between(sizes, mean - deviation, mean + deviation, color=color(i), alpha=0.18, lw=0)
    _count_axis(ax, sizes)
    ax.legend(fontsize=8, loc="lower right")
    return Plot(
        "lowdata",
        "Low-data regime",
        figure,
        "Test figures of heads fitted on few training images per origin; the validation set is "
        "not reduced.",
    )


def few_shot_plot(points: Sequence[FewShotPoint]) -> Plot:
    """Plot metrics against the number of enrolled images; thin lines: recall per generator."""
    title = "Enrolling a new generator from few images"
    figure, ax = new_axes(title, "enrolled images", "%", size=(5.6, 4.2))

    def curve(metric: str, points: Sequence[FewShotPoint]) -> tuple[list[int], list[float]]:
        counts = sorted({p.images for p in points})
        means = [np.mean([getattr(p, metric) for p in points if p.images == n]) for n in counts]
        return counts, [100 * float(mean) for mean in means]

    for generator in sorted({p.generator for p in points}):
        of_generator = [p for p in points if p.generator == generator]
        ax.plot(*curve("recall", of_generator), color=color(0), lw=0.8, alpha=0.35)
    for i, (metric, name) in enumerate(_FEW_SHOT_METRICS.items()):
        ax.plot(*curve(metric, points), "o-", ms=4, color=color(i), label=name)
    ax.axhline(100 * points[0].accuracy_before, color=color(2), ls=":", lw=1)
    _count_axis(ax, sorted({p.images for p in points}))
    title = "thin: one generator; dotted: before enrollment"
    ax.legend(fontsize=8, title=title, title_fontsize=8)
    return Plot("fewshot", "Few-shot enrollment", figure)


def _count_axis(ax: Axes, counts: Sequence[int]) -> None:
    """Put image counts on a logarithmic x axis, and percentages on the y axis."""
    ax.set_xscale("log")
    ax.set_xticks(counts, [str(n) for n in counts])
    ax.minorticks_off()
    ax.set_ylim(0, 102)
