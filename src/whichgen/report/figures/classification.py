"""Figures of classification: confusion matrices, reliability diagram and metrics per block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from whichgen.constants import UNKNOWN
from whichgen.io.result_files import Row, format_rate
from whichgen.report.figures.style import Plot, create_axes, get_color, shorten
from whichgen.report.result_tables import METRICS, count_confusions, tabulate_blocks
from whichgen.report.run_reader import Run

#: Confusion matrices with more cells are drawn without numbers, which would not be legible.
_MAX_LABELED_CELLS = 900


def plot_closed_set_confusion(run: Run) -> Plot:
    """Plot the confusion matrix of known test images, without rejection (closed set)."""
    return _plot_confusion(
        "confusion_closed",
        "Confusion matrix, closed set",
        "Test images of known origins, without rejection. Each row (true origin) adds up to 100 %.",
        (run.origins, run.origins, np.array(run.results.test.closed.confusion)),
    )


def plot_open_set_confusion(run: Run) -> Plot:
    """Plot the confusion matrix of all test images, with rejection at the threshold."""
    caption = (
        f"All test images. Images with a score below the threshold are classified as “{UNKNOWN}”."
    )
    if len(run.unknown):
        caption += (
            " Rows below the line are unknown generators, for which this prediction is correct."
        )
    plot = _plot_confusion(
        "confusion_open", "Confusion matrix with rejection", caption, count_confusions(run)
    )
    if len(run.unknown):
        plot.figure.axes[0].axhline(len(run.origins) - 0.5, color="black", lw=1.2)
    return plot


def _plot_confusion(
    name: str, title: str, caption: str, matrix: tuple[Sequence[str], Sequence[str], np.ndarray]
) -> Plot:
    """Plot a confusion matrix in percent of each row; its table contains numbers of images.

    ``matrix`` is (rows, columns, counts), as returned by :func:`count_confusions`.
    """
    rows, columns, counts = matrix
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = (max(4.4, 0.5 * len(columns) + 2), max(3.4, 0.4 * len(rows) + 1.8))
    figure, ax = create_axes(f"{title} (%)", "predicted origin", "true origin", size=size)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.grid(visible=False)
    tick_style: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(columns)), list(map(shorten, columns)), fontsize=8, **tick_style)
    ax.set_yticks(range(len(rows)), list(map(shorten, rows)), fontsize=8)
    if shares.size <= _MAX_LABELED_CELLS:
        for (i, j), share in np.ndenumerate(shares):
            if share >= 0.005:
                text_color = "white" if share > 0.55 else "black"
                text = f"{100 * share:.0f}"
                ax.text(j, i, text, ha="center", va="center", fontsize=8, color=text_color)
    column_titles = [f"→ {column}" for column in columns]
    table = [
        {"true origin": true, **dict(zip(column_titles, values, strict=True))}
        for true, values in zip(rows, counts.tolist(), strict=True)
    ]
    return Plot(name, title, figure, caption, table)


def plot_reliability(run: Run) -> Plot:
    """Plot the reliability diagram of known test images: accuracy against confidence.

    The confidence is the probability of the most probable origin of an image. Bars show the
    fraction of images in each bin of confidence.
    """
    metrics = run.results.calibration
    edges, counts = np.array(metrics.edges), np.array(metrics.counts)
    has_images = counts > 0
    title = f"Reliability (calibration error {format_rate(metrics.ece)} %)"
    figure, ax = create_axes(title, "confidence", "accuracy")
    shares, widths = counts / max(1, counts.sum()), np.diff(edges)
    ax.bar(edges[:-1], shares, widths, align="edge", color="#DDDDDD", label="share of images")
    confidence, accuracy = np.array(metrics.confidence), np.array(metrics.accuracy)
    points, label = (confidence[has_images], accuracy[has_images]), "known test images"
    ax.plot(*points, color=get_color(0), marker="o", label=label)
    ax.plot([0, 1], [0, 1], color="black", lw=0.6, ls=":")
    ax.legend(fontsize=8, loc="upper left")
    rows: list[Row] = [
        {
            "confidence": f"{format_rate(edges[i])} – {format_rate(edges[i + 1])} %",
            "images": int(counts[i]),
            "mean confidence": format_rate(confidence[i]),
            "accuracy": format_rate(accuracy[i]),
        }
        for i in np.flatnonzero(has_images)
    ]
    return Plot(
        "reliability",
        "Reliability",
        figure,
        "On the dotted line, confidence equals accuracy; below it, the model is overconfident.",
        rows,
    )


def plot_blocks(run: Run) -> Plot | None:
    """Plot the validation and test metrics of each block at its best hyperparameter value.

    A metric that is undefined for some block is omitted. The result is ``None`` for a fusion.
    """
    blocks, selection = run.results.blocks, run.results.selection
    if not blocks:
        return None
    title = f"Each block at its best {shorten(selection.parameter)}"
    figure, ax = create_axes(title, "block", "%", size=(6.4, 4.6))
    numbers = [block.block for block in blocks]
    for i, (key, name) in enumerate(METRICS.items()):
        for split, split_name, line in (("test", "test", "-"), ("val", "validation", ":")):
            values = [getattr(block, f"{split}_{key}") for block in blocks]
            if None not in values:
                label, percentages = f"{name}, {split_name}", [100 * value for value in values]
                ax.plot(
                    numbers, percentages, line, marker="o", ms=3, color=get_color(i), label=label
                )
    ax.axvline(selection.block, color="black", lw=0.8, ls="--")
    position = ax.get_xaxis_transform()
    ax.text(selection.block, 0.01, f" block {selection.block}", transform=position, fontsize=8)
    ax.set_xticks(numbers)
    ax.legend(fontsize=8, ncol=3, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return Plot(
        "blocks",
        title,
        figure,
        f"One head per encoder block. The block was selected by validation {selection.metric}. "
        "Dotted lines: validation metrics. Solid lines: test metrics, which were not used for the "
        "selection.",
        tabulate_blocks(run),
    )
