"""Reports of the robustness, low-data and few-shot experiments: curves, tables, JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from whichgen.data.perturbations import INTENSITIES
from whichgen.experiments.few_shot import FewShotPoint
from whichgen.experiments.low_data import LowDataPoint
from whichgen.experiments.robustness import RobustnessPoint, get_metric, mean_over_intensities
from whichgen.io.atomic import write_text
from whichgen.io.tables import Row, markdown_table, percent, write_csv
from whichgen.report.plots import COLORS, save_figure, style
from whichgen.report.result_tables import to_json

_METRICS = {"accuracy": "accuracy", "auroc": "AUROC", "oscr": "OSCR"}


def robustness_rows(points: Sequence[RobustnessPoint]) -> list[Row]:
    """One row for each perturbation, figures in percent."""
    return [
        {
            "perturbation": str(point.perturbation or "none"),
            **{
                name: percent(get_metric(point.evaluation, metric))
                for metric, name in _METRICS.items()
            },
            "known kept": percent(point.evaluation.acceptance_rate),
            "unknown rejected": percent(point.evaluation.rejection_rate),
        }
        for point in points
    ]


def write_robustness(
    points: Sequence[RobustnessPoint], run_metadata: Mapping[str, Any], folder: Path
) -> Path:
    """Writes ``robustness.json``, ``.csv``, ``.md`` and ``plots/robustness.png`` into a folder."""
    kinds = list(dict.fromkeys(p.perturbation.kind for p in points if p.perturbation))
    means = [
        {
            "mean over five intensities": kind,
            **{
                name: percent(mean_over_intensities(points, kind, m))
                for m, name in _METRICS.items()
            },
        }
        for kind in kinds
    ]
    figures = [
        {
            "perturbation": str(p.perturbation) if p.perturbation else None,
            "test": asdict(p.evaluation),
            "skipped": list(p.skipped),
        }
        for p in points
    ]
    write_text(
        folder / "robustness.json", to_json({"run_metadata": dict(run_metadata), "points": figures})
    )
    rows = robustness_rows(points)
    write_csv(folder / "robustness.csv", rows)
    write_text(
        folder / "robustness.md",
        f"# Robustness\n\n{markdown_table(means)}\n{markdown_table(rows)}\n"
        "![robustness](plots/robustness.png)\n",
    )
    save_figure(robustness_plot(points, kinds), folder / "plots" / "robustness.png")
    return folder


def robustness_plot(points: Sequence[RobustnessPoint], kinds: Sequence[str]) -> Figure:
    """A panel for each kind: figures over intensity, the clean image's as dotted lines."""
    figure = Figure(figsize=(3.4 * max(1, len(kinds)), 3.6), layout="constrained")
    panels = figure.subplots(1, max(1, len(kinds)), sharey=True, squeeze=False)[0]
    clean = next(p for p in points if p.perturbation is None)
    for panel, kind in zip(panels, kinds, strict=False):
        of_kind = [p for p in points if p.perturbation and p.perturbation.kind == kind]
        x = [p.perturbation.value for p in of_kind if p.perturbation]
        unit = next(p.perturbation.unit for p in of_kind if p.perturbation)
        style(panel, kind, unit, "%" if panel is panels[0] else "")
        for i, (metric, name) in enumerate(_METRICS.items()):
            values = [get_metric(p.evaluation, metric) for p in of_kind]
            reference = get_metric(clean.evaluation, metric)
            if reference is None:
                continue
            panel.plot(x, [100 * (v or 0) for v in values], "o-", ms=4, color=COLORS[i], label=name)
            panel.axhline(100 * reference, color=COLORS[i], ls=":", lw=1)
        if INTENSITIES[kind][0] > INTENSITIES[kind][-1]:
            # The strongest to the right, also where that is the smallest number.
            panel.invert_xaxis()
        panel.set_ylim(0, 102)
    if kinds:
        panels[0].legend(fontsize=8, loc="lower left", title="dotted: clean", title_fontsize=8)
    return figure


def low_data_rows(points: Sequence[LowDataPoint]) -> list[Row]:
    """Mean ± standard deviation over seeds for each number of images, in percent."""
    rows: list[Row] = []
    for shots in sorted({p.samples_per_class for p in points}):
        of_shots = [p for p in points if p.samples_per_class == shots]
        row: dict[str, Any] = {"images a class": shots, "seeds": len(of_shots)}
        for metric, name in _METRICS.items():
            mean, std = mean_std([getattr(p, metric) for p in of_shots])
            row[name] = "–" if mean is None else f"{100 * mean:.1f} ± {100 * std:.1f}"
        rows.append(row)
    return rows


def mean_std(values: Sequence[float | None]) -> tuple[float | None, float]:
    """Mean and sample standard deviation (0 for one value) of those that are there."""
    there = [v for v in values if v is not None]
    if not there:
        return None, 0.0
    return float(np.mean(there)), float(np.std(there, ddof=1)) if len(there) > 1 else 0.0


def write_low_data(
    points: Sequence[LowDataPoint], run_metadata: Mapping[str, Any], folder: Path
) -> Path:
    """Writes ``lowdata.json``, ``.csv``, ``.md`` and ``plots/lowdata.png`` into a folder."""
    rows = [asdict(point) for point in points]
    write_text(
        folder / "lowdata.json", to_json({"run_metadata": dict(run_metadata), "points": rows})
    )
    write_csv(folder / "lowdata.csv", rows)
    write_text(
        folder / "lowdata.md",
        "# Low-data regime\n\nTest figures in percent, mean ± standard deviation over seeds. Only "
        "training images are few; validation is whole.\n\n"
        f"{markdown_table(low_data_rows(points))}\n![lowdata](plots/lowdata.png)\n",
    )
    save_figure(low_data_plot(points), folder / "plots" / "lowdata.png")
    return folder


def low_data_plot(points: Sequence[LowDataPoint]) -> Figure:
    """Figures over the number of training images a class, mean and standard deviation."""
    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    ax = figure.subplots()
    style(ax, "Few images (mean ± std over seeds)", "training images a class", "%")
    shots = sorted({p.samples_per_class for p in points})
    for i, (metric, name) in enumerate(_METRICS.items()):
        pairs = [
            mean_std([getattr(p, metric) for p in points if p.samples_per_class == n])
            for n in shots
        ]
        if any(mean is None for mean, _ in pairs):
            continue
        mean = 100 * np.array([m for m, _ in pairs], dtype=np.float64)
        std = 100 * np.array([s for _, s in pairs])
        ax.plot(shots, mean, "o-", ms=4, color=COLORS[i], label=name)
        ax.fill_between(shots, mean - std, mean + std, color=COLORS[i], alpha=0.18, lw=0)
    ax.set_xscale("log")
    ax.set_xticks(shots, [str(n) for n in shots])
    ax.minorticks_off()
    ax.set_ylim(0, 102)
    ax.legend(fontsize=8, loc="lower right")
    return figure


_CURVES = {
    "recall": "images of the new generator recognized",
    "accepted": "… and over the threshold",
    "accuracy_after": "accuracy of old origins",
}


def few_shot_rows(points: Sequence[FewShotPoint]) -> list[Row]:
    """A row for each number of images: means over generators and draws, in percent and points."""
    rows: list[Row] = []
    for shots in sorted({p.images for p in points}):
        of_shots = [p for p in points if p.images == shots]
        changes = [100 * (p.accuracy_after - p.accuracy_before) for p in of_shots]
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


def write_few_shot(
    points: Sequence[FewShotPoint], run_metadata: Mapping[str, Any], folder: Path
) -> Path:
    """Writes ``fewshot.json``, ``.csv``, ``.md`` and ``plots/fewshot.png`` into a folder."""
    rows = [asdict(point) for point in points]
    write_text(
        folder / "fewshot.json", to_json({"run_metadata": dict(run_metadata), "points": rows})
    )
    write_csv(folder / "fewshot.csv", rows)
    write_text(
        folder / "fewshot.md",
        "# Enrolled from few images\n\nEach unknown generator in turn, those of validation, too, "
        "which had a say in the choice of the model. Test figures in percent, mean ± standard "
        "deviation over generators and draws; more images leave fewer generators. The change of "
        "old accuracy is in points.\n\n"
        f"{markdown_table(few_shot_rows(points))}\n![fewshot](plots/fewshot.png)\n",
    )
    save_figure(few_shot_plot(points), folder / "plots" / "fewshot.png")
    return folder


def few_shot_plot(points: Sequence[FewShotPoint]) -> Figure:
    """Figures over the number of images enrolled, a thin line for each generator's recall."""
    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    ax = figure.subplots()
    style(ax, "A new generator from few images", "images enrolled", "%")
    shots = sorted({p.images for p in points})

    def line(metric: str, chosen: Sequence[FewShotPoint]) -> tuple[list[int], list[float]]:
        there = [n for n in shots if any(p.images == n for p in chosen)]
        return there, [
            100 * float(np.mean([getattr(p, metric) for p in chosen if p.images == n]))
            for n in there
        ]

    for generator in sorted({p.generator for p in points}):
        own = [p for p in points if p.generator == generator]
        ax.plot(*line("recall", own), color=COLORS[0], lw=0.8, alpha=0.35)
    for i, (metric, name) in enumerate(_CURVES.items()):
        ax.plot(*line(metric, points), "o-", ms=4, color=COLORS[i], label=name)
    ax.axhline(100 * points[0].accuracy_before, color=COLORS[2], ls=":", lw=1)
    ax.set_xscale("log")
    ax.set_xticks(shots, [str(n) for n in shots])
    ax.minorticks_off()
    ax.set_ylim(0, 102)
    ax.legend(fontsize=8, title="thin: one generator, dotted: before", title_fontsize=8)
    return figure
