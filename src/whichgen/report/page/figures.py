"""The plots of the page that are made of a run's answers, one function each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from whichgen.evaluation.detection import Detection, roc
from whichgen.evaluation.oscr import oscr_curve
from whichgen.openset.threshold import UNKNOWN
from whichgen.report.page.panels import (
    DARK_GREY,
    DASHES,
    GREY,
    PALETTE,
    Panel,
    colour,
    figure,
    guide,
    line,
    mark,
    short,
    shown,
    thinned,
)
from whichgen.report.page.read import Run
from whichgen.report.page.rows import matrix_rows, neighbour_rows, open_counts
from whichgen.report.tables import Row, percent

#: More curves than that in one plot can't be told apart.
_MOST_CURVES = 8
#: Where the tables read the curves.
_RATES = (0.01, 0.05, 0.1, 0.2, 0.5)
#: More cells than that have no room for numbers.
_MOST_CELLS = 400

_SYMBOLS = ("x", "cross", "diamond-open", "square-open", "triangle-up-open", "star-open")


@dataclass(frozen=True)
class _Curve:
    """A curve over false-positive rates, with the area under it."""

    name: str
    x: np.ndarray
    y: np.ndarray
    area: float
    style: Mapping[str, Any]


def roc_panel(runs: Mapping[str, Run]) -> Panel | None:
    """Known images kept over unknown images accepted; ``None`` without unknown images."""
    curves = _curves(
        runs,
        lambda run, scores: roc(run.known.scores, scores),
        lambda detection, _: detection.auroc,
    )
    if not curves:
        return None
    found = _curve_figure(curves, "known images kept")
    guide(found, (0, 0), (1, 1))
    return Panel(
        "roc",
        "ROC: known against unknown",
        found,
        "Each point is a threshold on the open-set score. The further up and left a curve runs, "
        "the better known and unknown images are told apart; the dotted diagonal is guessing.",
        _curve_rows(curves, "AUROC", "kept"),
    )


def oscr_panel(runs: Mapping[str, Run]) -> Panel | None:
    """Known images right and kept over unknown images accepted; ``None`` without unknown ones."""
    curves = _curves(
        runs,
        lambda run, scores: oscr_curve(
            run.known.scores, run.known.predicted == run.known.labels(run.origins), scores
        ),
        lambda _, oscr: oscr,
    )
    if not curves:
        return None
    return Panel(
        "oscr",
        "OSCR: right origin against unknown",
        _curve_figure(curves, "known images right and kept"),
        "As ROC, but a known image counts only if its origin is right, too. The curve ends at the "
        "closed-set accuracy; the area under it is OSCR.",
        _curve_rows(curves, "OSCR", "right and kept"),
    )


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
    # The lowest hundredth lies in the first bin: one far image must not press all others together.
    low, high = float(np.quantile(every, 0.01)), float(every.max())
    edges = np.linspace(low, high if high > low else low + 1, 41)
    correct = run.known.predicted == run.known.labels(run.origins)
    found = figure("score (high looks known)", "% of known, of unknown images", barmode="overlay")
    rows: list[Row] = []
    for scores, total, name, shade in (
        (run.known.scores[correct], len(run.known), "known, right origin", colour(0)),
        (run.known.scores[~correct], len(run.known), "known, wrong origin", colour(1)),
        (run.unknown.scores, len(run.unknown), UNKNOWN, GREY),
    ):
        if not len(scores):
            continue
        counts, _ = np.histogram(np.maximum(scores, low), edges)
        found.add_bar(
            x=((edges[:-1] + edges[1:]) / 2).tolist(),
            y=(100 * counts / total).tolist(),
            width=float(edges[1] - edges[0]),
            name=name,
            marker={"color": shade, "line": {"width": 0}},
            opacity=0.6,
            customdata=counts.tolist(),
            hovertemplate="score %{x:.4g}: %{customdata} images (%{y:.1f} %)"
            "<extra>%{fullData.name}</extra>",
        )
        quartiles = np.quantile(scores, [0, 0.25, 0.5, 0.75, 1])
        names = ("lowest", "lower quartile", "median", "upper quartile", "highest")
        rows.append(
            {"images": name, "count": len(scores)}
            | {k: f"{v:.6g}" for k, v in zip(names, quartiles.tolist(), strict=True)}
        )
    mark(found, run.threshold, "threshold")
    return Panel(
        "scores",
        "Open-set score",
        found,
        f"The score `{run.results.score}` of test images. Those left of the threshold, "
        f"{run.threshold:.6g}, are answered “{UNKNOWN}”; grey on its right is mistaken for a known "
        "origin. The lowest hundredth is in the first bar.",
        rows,
    )


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
    plot = figure("", "", height=520)
    strange = sorted(set(found.origins.tolist()) - set(run.origins))
    for i, origin in enumerate((*run.origins, *strange)):
        rows = np.flatnonzero(found.origins == origin)
        known = i < len(run.origins)
        j = i - len(run.origins)
        plot.add_scatter(
            x=found.points[rows, 0].round(3).tolist(),
            y=found.points[rows, 1].round(3).tolist(),
            mode="markers",
            name=shown(origin if known else f"{origin} ({UNKNOWN})"),
            marker={"size": 7, "opacity": 0.85, "color": colour(i)}
            if known
            else {"size": 7, "color": (DARK_GREY, GREY)[j % 2], "symbol": _SYMBOLS[j % 6]},
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
        neighbour_rows(run),
    )


def _curves(
    runs: Mapping[str, Run],
    curve: Callable[[Run, np.ndarray], tuple[np.ndarray, np.ndarray]],
    area: Callable[[Detection, float], float],
) -> list[_Curve]:
    """Each generator's curve and that of all unknown images; of several runs only the latter."""
    found = []
    for i, (label, run) in enumerate(runs.items()):
        test = run.results.test
        if test.detection is None or test.oscr is None:
            continue
        alone = len(runs) == 1
        if alone and 1 < len(test.unknown) <= _MOST_CURVES:
            found += [
                _Curve(
                    one.name,
                    *curve(run, run.unknown.scores[run.unknown.origins == one.name]),
                    area(one.detection, one.oscr),
                    {"color": (DARK_GREY, GREY)[j % 2], "width": 1.5, "dash": DASHES[j % 4]},
                )
                for j, one in enumerate(test.unknown)
            ]
        found.append(
            _Curve(
                "all unknown" if alone else label,
                *curve(run, run.unknown.scores),
                area(test.detection, test.oscr),
                {"color": colour(i), "width": 3, "dash": DASHES[i // len(PALETTE) % 4]},
            )
        )
    return found


def _curve_figure(curves: Sequence[_Curve], y: str) -> go.Figure:
    found = figure("unknown images accepted", y, height=420)
    for one in curves:
        found.add_trace(line(*thinned(one.x, one.y), one.name, **one.style))
    found.update_xaxes(range=[-0.01, 1.01], tickformat=".0%")
    found.update_yaxes(range=[0, 1.02], tickformat=".0%")
    return found


def _curve_rows(curves: Sequence[_Curve], area: str, y: str) -> list[Row]:
    return [
        {
            "unknown images of": one.name,
            area: percent(one.area),
            # A step goes up at its place: the highest point that has not passed the rate.
            **{
                f"{y} at {100 * rate:g} % accepted": percent(float(one.y[one.x <= rate].max()))
                for rate in _RATES
            },
        }
        for one in curves
    ]


def _matrix(rows: Sequence[str], columns: Sequence[str], counts: np.ndarray) -> go.Figure:
    """Shares of each row as colours, in percent; hovering tells the counts."""
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
