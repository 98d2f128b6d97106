"""The report of the few-shot curve: table, plot, JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from whichgen.experiments.few_shot import FewShotPoint
from whichgen.io.atomic import write_text
from whichgen.report.curves import mean_std
from whichgen.report.plots import COLORS, save_figure, style
from whichgen.report.tables import Row, markdown_table, write_csv
from whichgen.report.tested_report import to_json

_CURVES = {
    "recall": "images of the new generator recognized",
    "accepted": "… and over the threshold",
    "old_after": "accuracy of old origins",
}


def fewshot_rows(points: Sequence[FewShotPoint]) -> list[Row]:
    """A row for each number of images: means over generators and draws, in percent and points."""
    rows: list[Row] = []
    for shots in sorted({p.shots for p in points}):
        of_shots = [p for p in points if p.shots == shots]
        changes = [100 * (p.old_after - p.old_before) for p in of_shots]
        row: dict[str, Any] = {
            "images": shots,
            "generators": len({p.generator for p in of_shots}),
            "fits": len(of_shots),
            "old accuracy, change": f"{np.mean(changes):+.2f}",
            "worst": f"{min(changes):+.2f}",
        }
        columns = {"recall": "recognized", "accepted": "over threshold", "auroc": "AUROC of others"}
        for metric, name in columns.items():
            mean, std = mean_std([getattr(p, metric) for p in of_shots])
            row[name] = "–" if mean is None else f"{100 * mean:.1f} ± {100 * std:.1f}"
        rows.append(row)
    return rows


def write_fewshot(
    points: Sequence[FewShotPoint], provenance: Mapping[str, Any], folder: Path
) -> Path:
    """Writes ``fewshot.json``, ``.csv``, ``.md`` and ``plots/fewshot.png`` into a folder."""
    rows = [asdict(point) for point in points]
    write_text(folder / "fewshot.json", to_json({"provenance": dict(provenance), "points": rows}))
    write_csv(folder / "fewshot.csv", rows)
    write_text(
        folder / "fewshot.md",
        "# Enrolled from few images\n\nEach unknown generator in turn, those of validation, too, "
        "which had a say in the choice of the model. Test figures in percent, mean ± standard "
        "deviation over generators and draws; more images leave fewer generators. The change of "
        "old accuracy is in points.\n\n"
        f"{markdown_table(fewshot_rows(points))}\n![fewshot](plots/fewshot.png)\n",
    )
    save_figure(fewshot_plot(points), folder / "plots" / "fewshot.png")
    return folder


def fewshot_plot(points: Sequence[FewShotPoint]) -> Figure:
    """Figures over the number of images enrolled, a thin line for each generator's recall."""
    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    ax = figure.subplots()
    style(ax, "A new generator from few images", "images enrolled", "%")
    shots = sorted({p.shots for p in points})

    def line(metric: str, chosen: Sequence[FewShotPoint]) -> tuple[list[int], list[float]]:
        there = [n for n in shots if any(p.shots == n for p in chosen)]
        return there, [
            100 * float(np.mean([getattr(p, metric) for p in chosen if p.shots == n]))
            for n in there
        ]

    for generator in sorted({p.generator for p in points}):
        own = [p for p in points if p.generator == generator]
        ax.plot(*line("recall", own), color=COLORS[0], lw=0.8, alpha=0.35)
    for i, (metric, name) in enumerate(_CURVES.items()):
        ax.plot(*line(metric, points), "o-", ms=4, color=COLORS[i], label=name)
    ax.axhline(100 * points[0].old_before, color=COLORS[2], ls=":", lw=1)
    ax.set_xscale("log")
    ax.set_xticks(shots, [str(n) for n in shots])
    ax.minorticks_off()
    ax.set_ylim(0, 102)
    ax.legend(fontsize=8, title="thin: one generator, dotted: before", title_fontsize=8)
    return figure
