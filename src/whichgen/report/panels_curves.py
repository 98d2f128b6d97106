"""The plots of the page that are made of figures alone: blocks, calibration, robustness, shots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from plotly.subplots import make_subplots

from whichgen.data.perturbations import INTENSITIES
from whichgen.evaluation.calibration import CalibrationMetrics
from whichgen.experiments.low_data import LowDataPoint
from whichgen.experiments.robustness import RobustnessPoint, get_metric
from whichgen.io.tables import Row, percent
from whichgen.report.experiment_reports import low_data_rows, mean_std, robustness_rows
from whichgen.report.panels import (
    GRAY,
    Panel,
    color,
    figure,
    guide,
    line,
    mark,
)
from whichgen.report.run_reader import Run

_METRICS = {"accuracy": "accuracy", "auroc": "AUROC", "oscr": "OSCR"}


def block_panel(run: Run) -> Panel | None:
    """Each block at its best value, on validation and on test; ``None`` for a fusion."""
    blocks = run.results.blocks
    if not blocks:
        return None
    parameter = run.results.selection.parameter
    plot = figure("block, counted from 0", "%", height=400)
    numbers = [block["block"] for block in blocks]
    for i, (metric, name) in enumerate(_METRICS.items()):
        for part, which, dash in (("test", "test", "solid"), ("val", "validation", "dot")):
            values = [block.get(f"{part}_{metric}") for block in blocks]
            if any(v is not None for v in values):
                plot.add_trace(
                    line(
                        numbers,
                        [None if v is None else 100 * v for v in values],
                        f"{name}, {which}",
                        mode="lines+markers",
                        color=color(i),
                        width=2,
                        dash=dash,
                    )
                )
    chosen = run.results.selection.block
    if chosen is not None:
        mark(plot, chosen, f"chosen: {chosen}")
    plot.update_xaxes(dtick=-(-len(blocks) // 12))
    plot.update_yaxes(range=[0, 102])
    rows: list[Row] = [
        {
            "block": f"{block['block']:g}",
            parameter: f"{block.get(parameter) or 0:.4g}",
            **{
                f"{part} {name}": percent(block.get(f"{part}_{metric}"))
                for part in ("val", "test")
                for metric, name in _METRICS.items()
            },
        }
        for block in blocks
    ]
    return Panel(
        "blocks",
        f"Each block at its best {parameter}",
        plot,
        "Every block of the encoder with a head of its own. Dotted: validation, which chose; "
        "solid: test, which chose nothing. The two going together is a good sign.",
        rows,
    )


def reliability_panel(found: CalibrationMetrics) -> Panel:
    """Share of right answers over confidence, of known test images."""
    plot = figure("confidence", "share answered right")
    edges, counts = np.array(found.edges), np.array(found.counts)
    filled = counts > 0
    plot.add_bar(
        x=((edges[:-1] + edges[1:]) / 2).tolist(),
        y=(counts / max(1, counts.sum())).tolist(),
        width=float(edges[1] - edges[0]),
        name="share of images",
        marker={"color": GRAY, "line": {"width": 0}},
        opacity=0.35,
        customdata=counts.tolist(),
        hovertemplate="%{customdata} images<extra></extra>",
    )
    plot.add_trace(
        line(
            np.array(found.confidence)[filled],
            np.array(found.accuracy)[filled],
            "known test images",
            mode="lines+markers",
            color=color(0),
            width=2,
        )
    )
    guide(plot, (0, 0), (1, 1))
    plot.update_xaxes(range=[0, 1.01], tickformat=".0%")
    plot.update_yaxes(range=[0, 1.02], tickformat=".0%")
    bins = zip(found.edges, found.edges[1:], counts.tolist(), strict=False)
    rows: list[Row] = [
        {
            "confidence": f"{100 * low:.0f} – {100 * high:.0f} %",
            "images": n,
            "mean confidence": percent(sure),
            "answered right": percent(right),
        }
        for (low, high, n), sure, right in zip(bins, found.confidence, found.accuracy, strict=True)
        if n
    ]
    return Panel(
        "reliability",
        "Reliability",
        plot,
        f"Where probabilities are honest, points lie on the dotted line; under it, the model is "
        f"too sure. Expected calibration error {percent(found.ece)} %, of known test images only.",
        rows,
    )


def robustness_panel(points: Sequence[RobustnessPoint]) -> Panel | None:
    """A small plot for each kind of perturbation; ``None`` where nothing was measured."""
    kinds = list(dict.fromkeys(p.perturbation.kind for p in points if p.perturbation))
    clean = next((p for p in points if p.perturbation is None), None)
    if not kinds:
        return None
    height = 210 * len(kinds)
    units = {p.perturbation.kind: p.perturbation.unit for p in points if p.perturbation}
    plot = make_subplots(
        rows=len(kinds),
        cols=1,
        subplot_titles=[f"{kind}: {units[kind]}" for kind in kinds],
        vertical_spacing=min(0.5, 56 / height),
    )
    plot.update_layout(**figure("", "", height=height + 110).layout.to_plotly_json())
    # Above the first one's title.
    plot.update_layout(legend={"y": 1 + 30 / height}, margin={"t": 60})
    for row, kind in enumerate(kinds, start=1):
        of_kind = [
            (p.perturbation, p) for p in points if p.perturbation and p.perturbation.kind == kind
        ]
        for i, (metric, name) in enumerate(_METRICS.items()):
            values = [get_metric(point.evaluation, metric) for _, point in of_kind]
            if any(v is None for v in values):
                continue
            curve = line(
                [perturbation.value for perturbation, _ in of_kind],
                [100 * v for v in values if v is not None],
                name,
                mode="lines+markers",
                color=color(i),
                width=2,
            )
            plot.add_trace(curve.update(legendgroup=name, showlegend=row == 1), row=row, col=1)
            as_they_are = get_metric(clean.evaluation, metric) if clean else None
            if as_they_are is not None:
                plot.add_hline(
                    y=100 * as_they_are,
                    line={"color": color(i), "width": 1, "dash": "dot"},
                    row=row,
                    col=1,
                )
        # The strongest to the right, also where that is the smallest number.
        falling = INTENSITIES[kind][0] > INTENSITIES[kind][-1]
        plot.update_xaxes(
            autorange="reversed" if falling else True,
            automargin=True,
            zeroline=False,
            row=row,
            col=1,
        )
    plot.update_yaxes(range=[0, 102], automargin=True, zeroline=False, title_text="%")
    return Panel(
        "robustness",
        "Robustness",
        plot,
        "The test images perturbed, from mild on the left to strong on the right (resize: from "
        "small to large); dotted, the images as they are.",
        robustness_rows(points),
    )


def lowdata_panel(points: Sequence[LowDataPoint]) -> Panel:
    """Figures over training images a class: mean and standard deviation over seeds."""
    plot = figure("training images a class", "%", height=400)
    shots = sorted({p.samples_per_class for p in points})
    for i, (metric, name) in enumerate(_METRICS.items()):
        pairs = [
            mean_std([getattr(p, metric) for p in points if p.samples_per_class == n])
            for n in shots
        ]
        if any(mean is None for mean, _ in pairs):
            continue
        curve = line(
            shots,
            [100 * mean for mean, _ in pairs if mean is not None],
            name,
            mode="lines+markers",
            color=color(i),
            width=2,
        )
        plot.add_trace(
            curve.update(error_y={"array": [100 * std for _, std in pairs], "thickness": 1})
        )
    plot.update_xaxes(type="log", tickvals=shots, ticktext=[str(n) for n in shots])
    plot.update_yaxes(range=[0, 102])
    return Panel(
        "lowdata",
        "Few images",
        plot,
        "Test figures of fits on a few training images of each origin; bars are the standard "
        "deviation over draws. Validation is whole.",
        low_data_rows(points),
    )
