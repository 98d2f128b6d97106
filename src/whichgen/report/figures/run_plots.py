"""Draw all figures of a run."""

from __future__ import annotations

from whichgen.report.figures.classification import (
    block_plot,
    closed_set_confusion_plot,
    open_set_confusion_plot,
    reliability_plot,
)
from whichgen.report.figures.image_map import image_map_plot
from whichgen.report.figures.open_set import curve_plot, score_plot
from whichgen.report.figures.style import Plot
from whichgen.report.run_reader import Run


def run_plots(run: Run) -> list[Plot]:
    """Draw the figures of a run; omit those that do not apply, e.g. ROC without unknown images."""
    plots = (
        curve_plot({"": run}, "roc"),
        curve_plot({"": run}, "oscr"),
        closed_set_confusion_plot(run),
        open_set_confusion_plot(run),
        block_plot(run),
        score_plot(run),
        reliability_plot(run),
        image_map_plot(run),
    )
    return [plot for plot in plots if plot]
