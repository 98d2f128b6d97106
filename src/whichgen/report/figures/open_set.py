"""Figures of open-set recognition: ROC and OSCR curves, histograms of the open-set score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whichgen.constants import UNKNOWN
from whichgen.evaluation.detection import roc_curve
from whichgen.evaluation.oscr import oscr_curve
from whichgen.io.tables import Row, percent
from whichgen.report.figures.style import DASHES, GRAYS, Plot, color, new_axes, shorten
from whichgen.report.run_reader import Run

#: More curves in one figure cannot be told apart.
_MAX_CURVES = 8
#: False-positive rates at which the tables read the curves.
_FPRS = (0.01, 0.05, 0.1, 0.2, 0.5)
#: Double-precision probabilities closer to 1 cannot be distinguished.
_EPSILON = 1e-16


@dataclass(frozen=True)
class _Curve:
    """A curve over false-positive rates; ``area`` is the area under it, in [0, 1]."""

    name: str
    fpr: np.ndarray
    y: np.ndarray
    area: float
    style: Mapping[str, Any]


def roc_plot(runs: Mapping[str, Run]) -> Plot | None:
    """Plot ROC curves of runs by label; ``None`` without unknown images."""
    curves = _curves(
        runs,
        lambda run, scores: roc_curve(run.known.scores, scores),
        lambda result: result.detection.auroc,
    )
    return _curve_plot(
        curves,
        ("roc", "Known vs. unknown images (ROC)", "AUROC", "known images accepted (TPR)"),
        "Each point is one threshold on the open-set score. Curves closer to the upper left corner "
        "separate known from unknown images better; the dotted diagonal is guessing.",
    )


def oscr_plot(runs: Mapping[str, Run]) -> Plot | None:
    """Plot OSCR curves of runs by label; ``None`` without unknown images."""
    curves = _curves(
        runs,
        lambda run, scores: oscr_curve(
            run.known.scores, run.known.predicted == run.known.labels(run.origins), scores
        ),
        lambda result: result.oscr,
    )
    return _curve_plot(
        curves,
        (
            "oscr",
            "Open-set classification rate (OSCR)",
            "OSCR",
            "known images accepted and correct (CCR)",
        ),
        "Like the ROC curve, but a known image counts only if its predicted origin is correct. The "
        "curve ends at the closed-set accuracy.",
    )


def _curves(
    runs: Mapping[str, Run],
    compute: Callable[[Run, np.ndarray], tuple[np.ndarray, np.ndarray]],
    area: Callable[[Any], float],
) -> list[_Curve]:
    """Compute one curve per run, and for a single run one per unknown generator as well."""
    curves = []
    for i, (label, run) in enumerate(runs.items()):
        test = run.results.test
        if not len(run.unknown):
            continue
        if len(runs) == 1 and 1 < len(test.unknown) <= _MAX_CURVES:
            curves += [
                _Curve(
                    result.name,
                    *compute(run, run.unknown.scores[run.unknown.origins == result.name]),
                    area(result),
                    {"color": GRAYS[j % len(GRAYS)], "lw": 1, "ls": DASHES[j % len(DASHES)]},
                )
                for j, result in enumerate(test.unknown)
            ]
        curves.append(
            _Curve(
                "all unknown" if len(runs) == 1 else label,
                *compute(run, run.unknown.scores),
                area(test),
                {"color": color(i), "lw": 2.2, "ls": DASHES[i // 8 % len(DASHES)]},
            )
        )
    return curves


def _curve_plot(
    curves: Sequence[_Curve], names: tuple[str, str, str, str], caption: str
) -> Plot | None:
    if not curves:
        return None
    name, title, area, y_label = names
    figure, ax = new_axes(title, "unknown images accepted (FPR)", y_label)
    for curve in curves:
        label = f"{shorten(curve.name)} ({area} {percent(curve.area)} %)"
        ax.plot(curve.fpr, curve.y, label=label, **curve.style)
    if name == "roc":
        ax.plot([0, 1], [0, 1], color="black", lw=0.6, ls=":")
    ax.set_ylim(0, 1.02)
    ax.legend(fontsize=8, loc="lower right")
    rows: list[Row] = [
        {
            "unknown images": curve.name,
            area: percent(curve.area),
            # Curves are step functions: take the highest point that does not exceed the rate.
            **{
                f"{y_label.split('(')[1][:-1]} at {100 * rate:g} % FPR": percent(
                    float(curve.y[curve.fpr <= rate].max())
                )
                for rate in _FPRS
            },
        }
        for curve in curves
    ]
    return Plot(name, title, figure, caption, rows)


def score_plot(run: Run) -> Plot:
    """Plot histograms of the open-set score, with the threshold."""
    scores = np.concatenate([run.known.scores, run.unknown.scores])
    # If even the threshold is close to 1, probabilities differ only in their number of nines.
    nines = run.results.score_method == "max_probability" and run.threshold > 0.99

    def scale(values: np.ndarray) -> np.ndarray:
        return -np.log10(np.maximum(1 - values, _EPSILON)) if nines else values

    # The lowest 1 % share the first bin: one distant image must not compress all others.
    low, high = float(scale(np.quantile(scores, 0.01))), float(scale(scores).max())
    bins = np.linspace(low, high if high > low else low + 1, 31)
    correct = run.known.predicted == run.known.labels(run.origins)
    score = run.results.score_method.replace("_", " ")
    figure, ax = new_axes("Open-set score", f"{score} (high: known)", "share of images, %")
    for values, total, label, shade in (
        (run.known.scores[correct], len(run.known), "known, correct origin", color(0)),
        (run.known.scores[~correct], len(run.known), "known, wrong origin", color(1)),
        (run.unknown.scores, len(run.unknown), UNKNOWN, GRAYS[1]),
    ):
        if len(values):
            weights = np.full(len(values), 100 / total)
            ax.hist(
                np.maximum(scale(values), low),
                bins.tolist(),
                weights=weights,
                color=shade,
                alpha=0.6,
                label=f"{label} ({len(values)} images)",
            )
    threshold = float(scale(np.array(run.threshold)))
    ax.axvline(threshold, color="black", ls="--", lw=1, label=f"threshold {run.threshold:.6g}")
    if nines:
        ticks = list(range(max(0, int(np.ceil(low))), int(high) + 1, 1 + int(high - low) // 7))
        names = [f"{1 - 10**-n:g}" if n < 4 else f"1 − 1e-{n}" for n in ticks]
        ax.set_xticks(ticks, names, fontsize=8)
    ax.legend(fontsize=8, loc="best")
    return Plot(
        "scores",
        "Open-set score",
        figure,
        f"Images left of the threshold are attributed to “{UNKNOWN}”; unknown images right of it "
        "are mistaken for a known origin. The lowest 1 % of scores are in the first bar.",
    )
