"""t-SNE plot of test images, and positions of its points in the figure."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from whichgen.constants import UNKNOWN
from whichgen.report.figures.style import GRAYS, Plot, create_axes, get_color, shorten
from whichgen.report.run_reader import Run

#: Markers of unknown generators; known origins have dots.
_MARKERS = ("x", "+", "1", "2", "3", "4", "|", "_")
#: Maximum number of names in one column of the legend.
_LEGEND_ROWS = 24


def plot_image_map(run: Run) -> Plot | None:
    """Draw the t-SNE plot of a run; return ``None`` if the run has no t-SNE coordinates."""
    image_map = run.image_map
    if not len(image_map.paths):
        return None
    generators = sorted(set(image_map.origins.tolist()) - set(run.origins))
    names = len(run.origins) + len(generators)
    columns = -(-names // _LEGEND_ROWS)
    title = "t-SNE plot of the test images"
    size = (5.2 + 1.6 * columns, max(4.6, 0.2 * min(names, _LEGEND_ROWS) + 0.6))
    figure, ax = create_axes(title, "", "", size=size)
    for i, origin in enumerate(run.origins):
        x, y = image_map.points[image_map.origins == origin].T
        ax.scatter(x, y, s=16, color=get_color(i), alpha=0.8, lw=0, label=shorten(origin))
    for i, origin in enumerate(generators):
        x, y = image_map.points[image_map.origins == origin].T
        marker = _MARKERS[i % len(_MARKERS)]
        label = f"{shorten(origin)} ({UNKNOWN})"
        ax.scatter(x, y, s=22, marker=marker, color=GRAYS[i % 2], lw=1, label=label)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, ncols=columns)
    return Plot(
        "embedding",
        title,
        figure,
        "Images with similar embeddings are close together; the axes have no unit.",
    )


def compute_map_positions(figure: Figure, run: Run) -> np.ndarray:
    """Compute the positions of the m t-SNE points in a figure.

    Parameters
    ----------
    figure
        Figure of the plot that :func:`plot_image_map` returns for ``run``.
    run
        The run, with t-SNE coordinates of m images.

    Returns
    -------
    numpy.ndarray
        Position of each point as fractions, in [0, 1], of the figure's width (from the left) and
        height (from the top): float64 array (m, 2).
    """
    figure.draw_without_rendering()
    pixels = figure.axes[0].transData.transform(run.image_map.points)
    x, y = (pixels / [figure.bbox.width, figure.bbox.height]).T
    return np.stack([x, 1 - y], axis=1)
