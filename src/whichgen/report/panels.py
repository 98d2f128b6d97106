"""What all plots of the page share: a figure with its text alternative, colors, axes, names."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go

from whichgen.io.tables import Row
from whichgen.report.plots import COLORS

#: Okabe & Ito's colors that show on white and on black; what is gray is unknown, or a guide line.
PALETTE = (*COLORS[:6], "#8C6BB1", "#B59B00")
GRAY, DARK_GRAY = "#8A8A8A", "#757575"
DASHES = ("solid", "dash", "dot", "dashdot")

#: A curve is thinned to so many points: more can't be seen, and files of benchmarks would be large.
_CURVE = 500
#: Longer names would leave a phone no room for the plot.
_NAME = 18


@dataclass(frozen=True)
class Panel:
    """A plot of the page.

    ``rows`` are its numbers as a table, the alternative for those who do not see it; ``about``
    says what to look for.
    """

    name: str
    title: str
    figure: go.Figure
    about: str
    rows: Sequence[Row] = field(default=())

    @property
    def json(self) -> Any:
        """The figure as JSON values: lists, numbers, strings."""
        return json.loads(self.figure.to_json())


def figure(x: str, y: str, *, height: int = 380, **layout: Any) -> go.Figure:
    """An empty plot with named axes; the page's script gives it the reader's colors."""
    found = go.Figure()
    found.update_layout(
        template="none",
        height=height,
        margin={"l": 52, "r": 22, "t": 12, "b": 46},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
        hovermode="closest",
        autotypenumbers="strict",
        dragmode=False,  # so that a finger scrolls the page
        **layout,
    )
    found.update_xaxes(title={"text": x, "standoff": 8}, automargin=True, zeroline=False)
    found.update_yaxes(title={"text": y, "standoff": 8}, automargin=True, zeroline=False)
    return found


def line(
    x: Iterable[Any], y: Iterable[Any], name: str, *, mode: str = "lines", **style: Any
) -> go.Scatter:
    """One curve; ``style`` is its line's."""
    return go.Scatter(
        x=list(x),
        y=list(y),
        name=shown(name),
        mode=mode,
        line=style,
    )


def guide(found: go.Figure, *ends: tuple[float, float]) -> None:
    """A thin dotted line between two points."""
    (x0, y0), (x1, y1) = ends
    found.add_shape(
        type="line", x0=x0, x1=x1, y0=y0, y1=y1, line={"color": GRAY, "width": 1, "dash": "dot"}
    )


def mark(found: go.Figure, x: float, text: str) -> None:
    """A dashed upright with a word beside it."""
    found.add_vline(
        x=x,
        line={"color": GRAY, "width": 1.5, "dash": "dash"},
        annotation={"text": shown(text), "font": {"size": 12}, "yanchor": "bottom", "y": 0},
    )


def color(i: int) -> str:
    """The color of the i-th known origin, or of the i-th run."""
    return PALETTE[i % len(PALETTE)]


def shown(name: str) -> str:
    """A name as plotly is to show it: it takes texts for a kind of HTML, links and all."""
    return html.escape(name, quote=False)


def short(name: str) -> str:
    """The same for ticks; of a long one both ends, as names often differ in their last letters."""
    half = _NAME // 2
    return shown(name if len(name) <= _NAME else f"{name[:half]}…{name[1 - half :]}")


def thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve (n,), (n,) with at most :data:`_CURVE` of its points, both ends among them."""
    if len(x) <= _CURVE:
        return x, y
    # Evenly along the way from corner to corner, on which steep and flat parts count alike.
    way = np.asarray(x) + np.asarray(y)
    rows = np.searchsorted(way, np.linspace(way[0], way[-1], _CURVE - 1))
    rows = np.unique([0, *np.minimum(rows, len(x) - 1).tolist(), len(x) - 1])
    return x[rows], y[rows]
