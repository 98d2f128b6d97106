"""Figures of open-set recognition: ROC and OSCR curves, and histograms of the open-set score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from whichgen.constants import UNKNOWN
from whichgen.evaluation.evaluate_predictions import Evaluation, UnknownResult
from whichgen.evaluation.oscr import compute_oscr_curve
from whichgen.evaluation.unknown_detection import compute_roc_curve
from whichgen.io.result_files import Row, format_rate
from whichgen.phrases import format_count
from whichgen.report.figures.style import DASHES, GRAYS, Plot, create_axes, get_color, shorten
from whichgen.report.run_reader import Run

#: If a run has more unknown generators, only the curve of all of them together is plotted.
_MAX_CURVES = 8
#: Title, y axis and caption of each kind of curve.
_CURVES = {
    "roc": (
        "Known vs. unknown images (ROC)",
        "known images accepted (TPR)",
        "Each point is one threshold on the open-set score. Curves closer to the upper left corner "
        "separate known from unknown images better; the dotted diagonal is a random classifier.",
    ),
    "oscr": (
        "Open-set classification rate (OSCR)",
        "known images accepted and correct (CCR)",
        "Like the ROC curve, but a known image counts only if its predicted origin is correct. The "
        "curve ends at the closed-set accuracy.",
    ),
}
#: False-positive rates in the tables.
_FPRS = (0.01, 0.05, 0.1, 0.2, 0.5)
#: Smallest displayed difference between a probability and 1.
_EPSILON = 1e-16


def plot_curve(runs: Mapping[str, Run], name: Literal["roc", "oscr"]) -> Plot | None:
    """Plot the ROC or OSCR curve of each run that has unknown test images.

    For a single run with two to eight unknown generators, the curve of each generator is also
    plotted. The result is ``None`` if no run has unknown test images.

    Parameters
    ----------
    runs
        Maps a label for the legend to a run; the label of a single run is not used.
    name
        ``roc`` or ``oscr``.
    """
    title, y_label, caption = _CURVES[name]
    figure, ax = create_axes(title, "unknown images accepted (FPR)", y_label)
    rate = y_label[-4:-1]
    first_column = "unknown images" if len(runs) == 1 else "run"
    rows: list[Row] = []

    def add_curve(
        label: str, run: Run, result: Evaluation | UnknownResult, scores: np.ndarray, **style: Any
    ) -> None:
        if name == "roc":
            fpr, y = compute_roc_curve(run.known.scores, scores)
            metric, area = "AUROC", result.detection.auroc if result.detection else None
        else:
            fpr, y = compute_oscr_curve(run.known.scores, run.known.is_correct(run.origins), scores)
            metric, area = "OSCR", result.oscr
        ax.plot(fpr, y, label=f"{shorten(label)} ({metric} {format_rate(area)} %)", **style)
        # Curves are step functions: take the highest point that does not exceed the rate.
        points = {f"{rate} at {100 * x:g} % FPR": format_rate(y[fpr <= x].max()) for x in _FPRS}
        rows.append({first_column: label, metric: format_rate(area), **points})

    for i, (label, run) in enumerate(runs.items()):
        unknown, test = run.unknown, run.results.test
        if not len(unknown):
            continue
        if len(runs) == 1 and 1 < len(test.unknown) <= _MAX_CURVES:
            for j, result in enumerate(test.unknown):
                scores = unknown.scores[unknown.origins == result.name]
                style = {"color": GRAYS[j % len(GRAYS)], "ls": DASHES[j % len(DASHES)]}
                add_curve(result.name, run, result, scores, lw=1, **style)
        style = {"color": get_color(i), "ls": DASHES[i // 8 % len(DASHES)]}
        curve_label = "all unknown" if len(runs) == 1 else label
        add_curve(curve_label, run, test, unknown.scores, lw=2.2, **style)
    if not rows:
        return None
    if name == "roc":
        ax.plot([0, 1], [0, 1], color="black", lw=0.6, ls=":")
    ax.set_ylim(0, 1.02)
    ax.legend(fontsize=8, loc="lower right")
    return Plot(name, title, figure, caption, rows)


def plot_scores(run: Run) -> Plot:
    """Plot histograms of the open-set score of test images, and a line at the threshold.

    Up to three histograms are plotted: known images with the correct predicted origin, known images
    with a wrong predicted origin, and unknown images. An empty histogram is omitted. The bars are
    percentages of all known or of all unknown images.
    """
    scores = np.concatenate([run.known.scores, run.unknown.scores])
    # If the threshold is close to 1, use a logarithmic axis of 1 − probability.
    is_log_scale = run.results.score_method == "max_probability" and run.threshold > 0.99

    def scale(values: np.ndarray) -> np.ndarray:
        return -np.log10(np.maximum(1 - values, _EPSILON)) if is_log_scale else values

    # The lowest 1 % share the first bin, so that outliers do not compress the histogram.
    low, high = float(scale(np.quantile(scores, 0.01))), float(scale(scores).max())
    bins = np.linspace(low, high if high > low else low + 1, 31)
    correct = run.known.is_correct(run.origins)
    score = shorten(run.results.score_method.replace("_", " "))
    figure, ax = create_axes("Open-set score", f"{score} (high: known)", "share of images, %")
    for values, total, label, bar_color in (
        (run.known.scores[correct], len(run.known), "known, correct origin", get_color(0)),
        (run.known.scores[~correct], len(run.known), "known, wrong origin", get_color(1)),
        (run.unknown.scores, len(run.unknown), UNKNOWN, GRAYS[1]),
    ):
        if len(values):
            name = f"{label} ({format_count(len(values), 'image')})"
            weights = np.full(len(values), 100 / total)
            clipped_scores = np.maximum(scale(values), low)
            style: dict[str, Any] = {
                "weights": weights,
                "color": bar_color,
                "alpha": 0.6,
                "label": name,
            }
            ax.hist(clipped_scores, bins.tolist(), **style)
    threshold = float(scale(np.array(run.threshold)))
    ax.axvline(threshold, color="black", ls="--", lw=1, label=f"threshold {run.threshold:.6g}")
    if is_log_scale:
        ticks = list(range(max(0, int(np.ceil(low))), int(high) + 1, 1 + int(high - low) // 7))
        names = [f"{1 - 10**-n:g}" if n < 4 else f"1 − 1e-{n}" for n in ticks]
        ax.set_xticks(ticks, names, fontsize=8)
    ax.legend(fontsize=8, loc="best")
    return Plot(
        "scores",
        "Open-set score",
        figure,
        f"Images left of the threshold are classified as “{UNKNOWN}”; unknown images right of the "
        "threshold are attributed to a known origin. The first bar includes the lowest 1 % of "
        "scores.",
    )
