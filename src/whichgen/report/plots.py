"""Plots of one fit, each a PNG. Known origins have colors, unknown ones are gray."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whichgen.constants import UNKNOWN
from whichgen.evaluation.detection import roc_curve
from whichgen.evaluation.oscr import oscr_curve
from whichgen.evaluation.predictions import Predictions
from whichgen.io.atomic import replace_file
from whichgen.openset.threshold import decide
from whichgen.report.image_map import ImageMap, compute_image_map
from whichgen.training.finalize import EvaluatedModel
from whichgen.training.fit_block import BlockResult, FitResult
from whichgen.training.selection import Candidate

#: Okabe & Ito's colors, which color-blind readers tell apart.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
GRAYS = ("#555555", "#888888", "#AAAAAA", "#C4C4C4")
MARKERS = ("x", "+", "1", "2", "3", "4", "|", "_")

#: More curves than that in one plot can't be told apart.
_MOST_CURVES = 8


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG, whole or not at all."""
    with replace_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def axes(
    title: str, x: str, y: str, *, size: tuple[float, float] = (5.4, 4.4)
) -> tuple[Figure, Axes]:
    """A figure with one labeled plot."""
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.add_subplot()
    style(ax, title, x, y)
    return figure, ax


def style(ax: Axes, title: str, x: str, y: str) -> None:
    """Title, labels and a faint grid."""
    ax.set_title(title, fontsize=11)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def color(i: int) -> str:
    """The color of the i-th known origin."""
    return COLORS[i % len(COLORS)]


def roc_plot(fit: EvaluatedModel) -> Figure:
    """True-positive over false-positive rate: all unknown images pooled, and each generator."""
    figure, ax = axes(
        "Known against unknown", "unknown images accepted (FPR)", "known images kept (TPR)"
    )
    for i, (name, scores) in enumerate(_unknown_scores(fit)):
        fpr, tpr = roc_curve(fit.known.scores, scores)
        ax.plot(fpr, tpr, color=GRAYS[i % len(GRAYS)], lw=1, ls=("-", "--", ":")[i % 3], label=name)
    fpr, tpr = roc_curve(fit.known.scores, fit.unknown.scores)
    area = fit.evaluation.detection.auroc if fit.evaluation.detection else float("nan")
    ax.plot(fpr, tpr, color=COLORS[0], lw=2.2, label=f"all unknown (AUROC {100 * area:.1f} %)")
    ax.plot([0, 1], [0, 1], color="black", lw=0.6, ls=":")
    ax.legend(fontsize=8, loc="lower right")
    return figure


def oscr_plot(fit: EvaluatedModel) -> Figure:
    """Correct classification rate over false-positive rate."""
    figure, ax = axes(
        "Open-set classification rate",
        "unknown images accepted (FPR)",
        "known images right and accepted (CCR)",
    )
    correct = fit.known.predicted == fit.known.labels(fit.model.origins)
    for i, (name, scores) in enumerate(_unknown_scores(fit)):
        fpr, ccr = oscr_curve(fit.known.scores, correct, scores)
        ax.plot(fpr, ccr, color=GRAYS[i % len(GRAYS)], lw=1, ls=("-", "--", ":")[i % 3], label=name)
    fpr, ccr = oscr_curve(fit.known.scores, correct, fit.unknown.scores)
    area = float("nan") if fit.evaluation.oscr is None else fit.evaluation.oscr
    ax.plot(fpr, ccr, color=COLORS[0], lw=2.2, label=f"all unknown (OSCR {100 * area:.1f} %)")
    accuracy = fit.evaluation.closed.accuracy
    ax.axhline(accuracy, color="black", lw=0.6, ls=":")
    ax.text(0.01, accuracy + 0.01, f"closed-set accuracy {100 * accuracy:.1f} %", fontsize=8)
    ax.set_ylim(0, 1.02)
    ax.legend(fontsize=8, loc="lower right")
    return figure


def confusion_plot(fit: EvaluatedModel) -> Figure:
    """Shares of answers: without rejection for known origins, and with it for all."""
    origins = list(fit.model.origins)
    names = sorted(set(fit.unknown.origins.tolist()))
    closed = np.array(fit.evaluation.closed.confusion, dtype=np.float64)
    rows = [
        _shares(answers, name, len(origins), fit.model.threshold)
        for answers, members in ((fit.known, origins), (fit.unknown, names))
        for name in members
    ]
    side = max(3.4, 0.55 * len(origins) + 2.2)
    height = max(3.6, 0.42 * len(rows) + 2)
    figure = Figure(figsize=(2 * side + 1, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    totals = np.maximum(closed.sum(axis=1, keepdims=True), 1)
    _matrix(left, closed / totals, origins, origins, "Closed set: nothing rejected")
    _matrix(
        right,
        np.array(rows),
        origins + names,
        [*origins, UNKNOWN],
        f"Open set: {UNKNOWN} below {fit.model.threshold:.6g}",
    )
    right.axhline(len(origins) - 0.5, color="black", lw=1.2)
    return figure


def score_plot(fit: EvaluatedModel) -> Figure:
    """Histograms of the open-set score."""
    name = fit.model.score_method.replace("_", " ")
    figure, ax = axes("Open-set score", f"{name} (high is known)", "share of images")
    every = np.concatenate([fit.known.scores, fit.unknown.scores])
    # The lowest hundredth lies in the first bin: one far image must not press all others together.
    low, high = float(np.quantile(every, 0.01)), float(every.max())
    bins = np.linspace(low, high if high > low else low + 1, 31).tolist()
    correct = fit.known.predicted == fit.known.labels(fit.model.origins)
    for scores, total, name, shade in (
        (fit.known.scores[correct], len(fit.known), "known, right origin", COLORS[0]),
        (fit.known.scores[~correct], len(fit.known), "known, wrong origin", COLORS[1]),
        (fit.unknown.scores, len(fit.unknown), UNKNOWN, "#777777"),
    ):
        if len(scores):
            weights = np.full(len(scores), 1 / total)
            ax.hist(
                np.maximum(scores, low), bins, weights=weights, color=shade, alpha=0.6, label=name
            )
    ax.axvline(fit.model.threshold, color="black", ls="--", lw=1)
    ax.text(
        fit.model.threshold,
        1.0,
        f" threshold {fit.model.threshold:.6g}",
        transform=ax.get_xaxis_transform(),
        va="top",
        fontsize=8,
    )
    ax.legend(fontsize=8, loc="best")
    return figure


def reliability_plot(fit: EvaluatedModel) -> Figure:
    """Share of right answers over confidence, of known test images."""
    found = fit.calibration
    figure, ax = axes(
        f"Reliability (ECE {100 * found.ece:.1f} %)", "confidence", "share answered right"
    )
    edges = np.array(found.edges)
    filled = np.array(found.counts) > 0
    shares = np.array(found.counts) / max(1, sum(found.counts))
    ax.bar(
        edges[:-1], shares, np.diff(edges), align="edge", color="#DDDDDD", label="share of images"
    )
    ax.plot(
        np.array(found.confidence)[filled],
        np.array(found.accuracy)[filled],
        color=COLORS[0],
        marker="o",
        label="known test images",
    )
    ax.plot([0, 1], [0, 1], color="black", lw=0.6, ls=":")
    ax.legend(fontsize=8, loc="upper left")
    return figure


def block_plot(blocks: Sequence[BlockResult], chosen: int, parameter: str) -> Figure:
    """Accuracy, AUROC and OSCR over blocks: on test, and on the validation that chose."""
    figure, ax = axes(f"Each block at its best {parameter}", "block", "%", size=(6.4, 4.4))
    numbers = [b.validation.block for b in blocks]
    for i, (field, name) in enumerate(
        (("accuracy", "accuracy"), ("auroc", "AUROC"), ("oscr", "OSCR"))
    ):
        for which, line in (("test", "-"), ("validation", ":")):
            values = [_percent(getattr(b, which), field) for b in blocks]
            label = f"{name}, {which}"
            if not np.isnan(values).all():
                ax.plot(numbers, values, line, marker="o", ms=3, color=COLORS[i], label=label)
    ax.axvline(chosen, color="black", lw=0.8, ls="--")
    ax.text(chosen, 0.01, f" chosen: {chosen}", transform=ax.get_xaxis_transform(), fontsize=8)
    ax.set_xticks(numbers)
    ax.legend(fontsize=8, ncol=3, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return figure


def embedding_plot(fit: EvaluatedModel, embedding: ImageMap | None = None) -> Figure:
    """The map of the test images, which is computed unless it is given."""
    found = compute_image_map(fit) if embedding is None else embedding
    origins = np.concatenate([fit.known.origins, fit.unknown.origins])[found.rows]
    names = len(set(origins.tolist()))
    figure, ax = axes(
        "Test images as the head compares them (t-SNE)",
        "",
        "",
        size=(6.6, max(4.6, 0.24 * names + 0.6)),  # the legend has a line for each
    )
    if len(found.rows):
        for i, origin in enumerate(fit.model.origins):
            x, y = found.points[origins == origin].T
            ax.scatter(x, y, s=14, color=color(i), alpha=0.8, lw=0, label=origin)
        for i, origin in enumerate(sorted(set(fit.unknown.origins.tolist()))):
            x, y = found.points[origins == origin].T
            marker, gray = MARKERS[i % len(MARKERS)], GRAYS[i % 2]
            ax.scatter(x, y, s=22, marker=marker, color=gray, lw=1, label=f"{origin} ({UNKNOWN})")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def fit_plots(
    fit: FitResult, parameter: str, embedding: ImageMap | None = None
) -> dict[str, Figure]:
    """Every plot of a fit by its file name; those that need unknown images only where they are."""
    # An origin's name is no formula, whatever dollar signs are in it.
    with rc_context({"text.parse_math": False}):
        return test_plots(fit, embedding) | {"blocks": block_plot(fit.blocks, fit.block, parameter)}


def test_plots(fit: EvaluatedModel, embedding: ImageMap | None = None) -> dict[str, Figure]:
    """The plots that every tested model has."""
    with rc_context({"text.parse_math": False}):
        plots = {
            "confusion": confusion_plot(fit),
            "scores": score_plot(fit),
            "reliability": reliability_plot(fit),
            "embedding": embedding_plot(fit, embedding),
        }
        if len(fit.unknown):
            plots |= {"roc": roc_plot(fit), "oscr": oscr_plot(fit)}
    return plots


def _unknown_scores(fit: EvaluatedModel) -> list[tuple[str, np.ndarray]]:
    names = [result.name for result in fit.evaluation.unknown]
    if not 1 < len(names) <= _MOST_CURVES:
        return []
    return [(name, fit.unknown.scores[fit.unknown.origins == name]) for name in names]


def _shares(answers: Predictions, origin: str, n_origins: int, threshold: float) -> np.ndarray:
    decided = decide(answers.probabilities, answers.scores, threshold)
    mine = decided[answers.origins == origin]
    counts = np.bincount(np.where(mine < 0, n_origins, mine), minlength=n_origins + 1)
    return np.asarray(counts / max(1, len(mine)))


def _matrix(
    ax: Axes, shares: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str
) -> None:
    ax.imshow(shares, cmap=colormaps["Blues"], vmin=0, vmax=1, aspect="auto")
    ax.set_title(title, fontsize=11)
    ax.set_xticks(range(len(columns)), columns, rotation=40, ha="right", fontsize=8)
    ax.set_yticks(range(len(rows)), rows, fontsize=8)
    ax.set_xlabel("answer")
    ax.set_ylabel("true origin")
    if shares.size > 900:
        return
    for (i, j), share in np.ndenumerate(shares):
        if share >= 0.005:
            text: dict[str, Any] = {"color": "white" if share > 0.55 else "black"}
            ax.text(j, i, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, **text)


def _percent(candidate: Candidate, field: str) -> float:
    value = getattr(candidate, field)
    return float("nan") if value is None else 100 * float(value)
