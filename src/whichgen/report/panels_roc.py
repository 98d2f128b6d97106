"""The plots of trade-offs: what is kept of known images over what is accepted of unknown ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from whichgen.evaluation.detection import DetectionMetrics, roc_curve
from whichgen.evaluation.oscr import oscr_curve
from whichgen.io.tables import Row, percent
from whichgen.report.panels import (
    DARK_GRAY,
    DASHES,
    GRAY,
    PALETTE,
    Panel,
    color,
    figure,
    guide,
    line,
    thinned,
)
from whichgen.report.run_reader import Run

#: More curves than that in one plot can't be told apart.
_MOST_CURVES = 8
#: Where the tables read the curves.
_RATES = (0.01, 0.05, 0.1, 0.2, 0.5)


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
        lambda run, scores: roc_curve(run.known.scores, scores),
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


def _curves(
    runs: Mapping[str, Run],
    curve: Callable[[Run, np.ndarray], tuple[np.ndarray, np.ndarray]],
    area: Callable[[DetectionMetrics, float], float],
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
                    {"color": (DARK_GRAY, GRAY)[j % 2], "width": 1.5, "dash": DASHES[j % 4]},
                )
                for j, one in enumerate(test.unknown)
            ]
        found.append(
            _Curve(
                "all unknown" if alone else label,
                *curve(run, run.unknown.scores),
                area(test.detection, test.oscr),
                {"color": color(i), "width": 3, "dash": DASHES[i // len(PALETTE) % 4]},
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
