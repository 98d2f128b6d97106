"""Draw the figures of a run."""

from __future__ import annotations

from whichgen.report.figures.classification import (
    plot_blocks,
    plot_closed_set_confusion,
    plot_open_set_confusion,
    plot_reliability,
)
from whichgen.report.figures.image_map import plot_image_map
from whichgen.report.figures.open_set import plot_curve, plot_scores
from whichgen.report.figures.style import Plot
from whichgen.report.run_reader import Run


def plot_run(run: Run) -> list[Plot]:
    """Draw the figures of a run; omit figures without data, such as ROC without unknown images."""
    plots = (
        plot_curve({"": run}, "roc"),
        plot_curve({"": run}, "oscr"),
        plot_closed_set_confusion(run),
        plot_open_set_confusion(run),
        plot_blocks(run),
        plot_scores(run),
        plot_reliability(run),
        plot_image_map(run),
    )
    return [plot for plot in plots if plot]
