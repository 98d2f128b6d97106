"""Colors, axes and file formats of all figures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whichgen.io.atomic_writes import replace_file
from whichgen.io.result_files import Row

#: Okabe & Ito's palette for color-blind readers; the last two colors replace yellow and black.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6BB1", "#B59B00")
#: Colors of unknown generators and their images.
GRAYS = ("#555555", "#888888", "#AAAAAA", "#C4C4C4")
#: Line styles of curves.
DASHES = ("-", "--", ":", "-.")

#: Maximum length of names in figures, in characters.
_NAME_LENGTH = 22


@dataclass(frozen=True)
class Plot:
    """A figure with title, caption and table.

    Parameters
    ----------
    name
        Name of the PNG file, without suffix.
    title
        Title in the report and on the HTML page.
    figure
        The figure.
    caption
        Explanation of the figure.
    rows
        Table of values that the figure shows; empty if there is no table.
    """

    name: str
    title: str
    figure: Figure
    caption: str = ""
    rows: Sequence[Row] = ()


def create_axes(
    title: str, x_label: str, y_label: str, *, size: tuple[float, float] = (5.4, 4.4)
) -> tuple[Figure, Axes]:
    """Create a figure with one set of axes; ``size`` is its width and height in inches."""
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.add_subplot()
    style_axes(ax, title, x_label, y_label)
    return figure, ax


def style_axes(ax: Axes, title: str, x_label: str, y_label: str) -> None:
    """Set the title and axis labels, draw a light grid, and hide the top and right borders."""
    ax.set_title(title, fontsize=11)
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def get_color(i: int) -> str:
    """Return the color with index ``i``, starting at 0; the 8 colors repeat."""
    return COLORS[i % len(COLORS)]


def shorten(name: str) -> str:
    """Shorten a name to at most 22 characters by replacing its middle with an ellipsis.

    Dollar signs are then escaped, because matplotlib typesets text between dollar signs as math.
    """
    half = _NAME_LENGTH // 2
    short = name if len(name) <= _NAME_LENGTH else f"{name[:half]}…{name[1 - half :]}"
    return short.replace("$", r"\$")


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure to a PNG file; an error leaves an existing file unchanged.

    Missing parent folders are created.

    Raises
    ------
    OSError
        The file can't be written.
    """
    with replace_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def make_svg_uri(figure: Figure) -> str:
    """Render a figure as an SVG ``data:`` URI, for use as the source of an image in HTML."""
    out = io.BytesIO()
    with rc_context({"svg.hashsalt": "whichgen"}):  # reproducible IDs in the file
        figure.savefig(out, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(out.getvalue()).decode()}"
