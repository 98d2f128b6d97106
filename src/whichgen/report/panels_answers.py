"""The plots of the page that are made of a run's answers: matrices, scores, the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from whichgen.constants import UNKNOWN
from whichgen.io.tables import Row
from whichgen.report.page_tables import matrix_rows, neighbor_rows, open_counts
from whichgen.report.panels import (
    DARK_GRAY,
    GRAY,
    Panel,
    color,
    figure,
    guide,
    mark,
    short,
    shown,
)
from whichgen.report.run_reader import Run

#: More cells than that have no room for numbers.
_MOST_CELLS = 400
#: Nearer to 1 than this no probability is told from another.
_TINY = 1e-16

_SYMBOLS = ("x", "cross", "diamond-open", "square-open", "triangle-up-open", "star-open")


def closed_panel(run: Run) -> Panel:
    """The confusion matrix of known images, nothing rejected."""
    counts = np.array(run.results.test.closed.confusion)
    return Panel(
        "closed",
        "Confusion, closed set",
        _matrix(run.origins, run.origins, counts),
        "Known test images, nothing rejected. A row is a true origin; its shares add up to 100 %, "
        "and what lies off the diagonal is wrong.",
        matrix_rows(run.origins, run.origins, counts),
    )


def open_panel(run: Run) -> Panel:
    """The confusion matrix of all test images, with rejection."""
    rows, columns, counts = open_counts(run)
    found = _matrix(rows, columns, counts)
    if len(rows) > len(run.origins):
        guide(found, (-0.5, len(run.origins) - 0.5), (len(columns) - 0.5, len(run.origins) - 0.5))
    return Panel(
        "open",
        "Confusion, open set",
        found,
        f"All test images with scores below {run.threshold:.6g} answered “{UNKNOWN}”. Rows under "
        "the dotted line are unknown generators: only the last column is right for them.",
        matrix_rows(rows, columns, counts),
    )


def score_panel(run: Run) -> Panel:
    """Histograms of the open-set score with the threshold."""
    every = np.concatenate([run.known.scores, run.unknown.scores])
    # Where even that is below the threshold, probabilities differ in how many nines they have.
    nines = run.results.score == "max_probability" and run.threshold > 0.99

    def scale(scores: np.ndarray) -> np.ndarray:
        return -np.log10(np.maximum(1 - scores, _TINY)) if nines else scores

    # The lowest hundredth lies in the first bin: one far image must not press all others together.
    low, high = float(scale(np.quantile(every, 0.01))), float(scale(every).max())
    edges = np.linspace(low, high if high > low else low + 1, 41)
    correct = run.known.predicted == run.known.labels(run.origins)
    found = figure("score (high looks known)", "% of known, of unknown images", barmode="overlay")
    rows: list[Row] = []
    for scores, total, name, shade in (
        (run.known.scores[correct], len(run.known), "known, right origin", color(0)),
        (run.known.scores[~correct], len(run.known), "known, wrong origin", color(1)),
        (run.unknown.scores, len(run.unknown), UNKNOWN, GRAY),
    ):
        if not len(scores):
            continue
        counts, _ = np.histogram(np.maximum(scale(scores), low), edges)
        found.add_bar(
            x=((edges[:-1] + edges[1:]) / 2).tolist(),
            y=(100 * counts / total).tolist(),
            width=float(edges[1] - edges[0]),
            name=name,
            marker={"color": shade, "line": {"width": 0}},
            opacity=0.6,
            customdata=counts.tolist(),
            hovertemplate="%{customdata} images (%{y:.1f} %)<extra>%{fullData.name}</extra>",
        )
        quartiles = np.quantile(scores, [0, 0.25, 0.5, 0.75, 1])
        names = ("lowest", "lower quartile", "median", "upper quartile", "highest")
        rows.append(
            {"images": name, "count": len(scores)}
            | {k: f"{v:.9g}" for k, v in zip(names, quartiles.tolist(), strict=True)}
        )
    if nines:
        powers = [n for n in range(17) if n < 4 or n % 2 == 0]
        found.update_xaxes(tickvals=powers, ticktext=[_nines(n) for n in powers])
    mark(found, float(scale(np.array(run.threshold))), "threshold")
    name = run.results.score.replace("_", " ")
    return Panel(
        "scores",
        "Open-set score",
        found,
        f"The score ({name}) of test images. Those left of the threshold, {run.threshold:.6g}, are "
        f"answered “{UNKNOWN}”; gray on its right is mistaken for a known origin. The lowest "
        "hundredth is in the first bar.",
        rows,
    )


def _nines(n: int) -> str:
    """The probability that is 10⁻ⁿ short of 1."""
    raised = str(n).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{1 - 10**-n:g}" if n < 4 else f"1−10⁻{raised}"


def map_panel(run: Run, pictures: Mapping[str, int]) -> Panel | None:
    """The map of the test images; ``pictures`` are the thumbnails' numbers by path."""
    found = run.map
    if found is None:
        return None
    answered = {
        path: (
            UNKNOWN if index < 0 else run.origins[index],
            float(score),
        )
        for answers, paths in zip(run.predictions.answers, run.predictions.paths, strict=True)
        for path, index, score in zip(
            paths.tolist(), run.decided(answers).tolist(), answers.scores.tolist(), strict=True
        )
    }
    strange = sorted(set(found.origins.tolist()) - set(run.origins))
    # The legend may have a line for each.
    plot = figure("", "", height=420 + 18 * min(len(run.origins) + len(strange), 26))
    for i, origin in enumerate((*run.origins, *strange)):
        rows = np.flatnonzero(found.origins == origin)
        known = i < len(run.origins)
        j = i - len(run.origins)
        plot.add_scatter(
            x=found.points[rows, 0].round(3).tolist(),
            y=found.points[rows, 1].round(3).tolist(),
            mode="markers",
            name=shown(origin if known else f"{origin} ({UNKNOWN})"),
            marker={"size": 7, "opacity": 0.85, "color": color(i)}
            if known
            else {"size": 7, "color": (DARK_GRAY, GRAY)[j % 2], "symbol": _SYMBOLS[j % 6]},
            # Read by the page's script, which shows them beside the picture as mere text.
            customdata=[
                [origin, *answered.get(path, ("–", None)), pictures.get(path, -1)]
                for path in found.paths[rows].tolist()
            ],
            hoverinfo="none",
        )
    plot.update_xaxes(showticklabels=False, showgrid=False)
    plot.update_yaxes(showticklabels=False, showgrid=False)
    return Panel(
        "map",
        "Map of the test images",
        plot,
        "t-SNE of what the head compares: images that it finds alike lie close together, the axes "
        "mean nothing. Point at an image, or put the focus on the plot and use the arrow keys.",
        neighbor_rows(run),
    )


def _matrix(rows: Sequence[str], columns: Sequence[str], counts: np.ndarray) -> go.Figure:
    """Shares of each row as colors, in percent; hovering tells the counts."""
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    found = figure("answer", "true origin", height=150 + 30 * len(rows))
    cells = counts.size <= _MOST_CELLS
    found.add_heatmap(
        z=shares.tolist(),
        zmin=0,
        zmax=100,
        showscale=False,
        xgap=1,
        ygap=1,
        text=[[f"{v:.0f}" if v >= 0.5 else "" for v in row] for row in shares.tolist()],
        texttemplate="%{text}" if cells else None,
        customdata=[
            [[shown(row), shown(column), int(n)] for column, n in zip(columns, line, strict=True)]
            for row, line in zip(rows, counts.tolist(), strict=True)
        ],
        hovertemplate="%{customdata[0]} → %{customdata[1]}: %{customdata[2]} images "
        "(%{z:.1f} %)<extra></extra>",
    )
    found.update_xaxes(
        tickvals=list(range(len(columns))),
        ticktext=[short(name) for name in columns],
        tickangle=-40,
        showgrid=False,
    )
    found.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[short(name) for name in rows],
        autorange="reversed",
        showgrid=False,
    )
    return found
