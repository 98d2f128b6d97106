"""Draw the plots and write the tables of ``docs/paper-claims.md``, for ``paper_claims.py``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whichgen.io.atomic_writes import replace_file, write_text
from whichgen.io.result_files import Row, format_markdown_table
from whichgen.report.figures.style import COLORS, style_axes

#: Results of each setting by name.
Records = Mapping[str, Mapping[str, Any]]

SETTINGS = {
    "images": "2022, same sources",
    "wild-same": "today, same sources",
    "wild-new": "today, new sources",
}
METHODS = {
    "linear": "DINOv2, linear probe",
    "knn": "DINOv2, k-NN",
    "spectra": "spectra, linear probe",
}
METRICS = {
    "accuracy": "accuracy",
    "macro_recall": "balanced accuracy",
    "auroc": "AUROC, known vs. unknown",
    "oscr": "OSCR",
}
#: Mean recall of a random guess among five and among nine origins.
CHANCE = {"images": 20.0, "wild-same": 100 / 9, "wild-new": 100 / 9}
#: Settings for reproducible SVG files whose text is not converted to paths.
SVG = {"svg.hashsalt": "whichgen", "svg.fonttype": "none", "font.size": 10}


def draw_curves(
    records: Records, variants: Mapping[str, str], metrics: Sequence[str], x: str
) -> Figure:
    """Plot metrics against variants, a mapping from name to tick label; shade the intervals."""
    figure = Figure(figsize=(9.2, 0.5 + 2.6 * len(metrics)), layout="constrained")
    axes = figure.subplots(len(metrics), len(records), sharey="row", sharex=True, squeeze=False)
    for row, metric in zip(axes, metrics, strict=True):
        for ax, (setting, record) in zip(row, records.items(), strict=True):
            values = record["metrics"]
            for color, (method, name) in zip(COLORS, METHODS.items(), strict=False):
                points = [values.get(f"{method} {v}") for v in variants]
                if None in points:
                    continue
                middle, low, high = zip(*(p[metric] for p in points), strict=True)
                ticks = range(len(points))
                ax.plot(ticks, _percent(middle), color=color, marker="o", ms=3, label=name)
                ax.fill_between(ticks, _percent(low), _percent(high), color=color, alpha=0.15)
            _finish(
                ax, metric, setting, SETTINGS[setting] if metric == metrics[0] else "", variants
            )
            ax.set_xlabel(x if metric == metrics[-1] else "")
        row[0].set_ylabel(f"{METRICS[metric]} (%)")
    _add_legend(figure)
    return figure


def draw_perturbations(records: Records, variants: Mapping[str, str]) -> Figure:
    """Plot balanced accuracy and OSCR per perturbation with error bars."""
    metrics = ("macro_recall", "oscr")
    figure = Figure(figsize=(9.2, 5.7), layout="constrained")
    axes = figure.subplots(2, len(records), sharey="row", sharex=True, squeeze=False)
    for row, metric in zip(axes, metrics, strict=True):
        for ax, (setting, record) in zip(row, records.items(), strict=True):
            for i, (color, (method, name)) in enumerate(zip(COLORS, METHODS.items(), strict=False)):
                values = {t: record["metrics"].get(f"{method} {v}") for t, v in enumerate(variants)}
                points = {t + 0.2 * (i - 1): v[metric] for t, v in values.items() if v}
                middle, low, high = map(_percent, zip(*points.values(), strict=True))
                bars = [
                    [m - v for m, v in zip(middle, low, strict=True)],
                    [v - m for m, v in zip(middle, high, strict=True)],
                ]
                ax.errorbar([*points], middle, yerr=bars, color=color, fmt="o", ms=4, label=name)
            _finish(
                ax, metric, setting, SETTINGS[setting] if metric == metrics[0] else "", variants
            )
            ax.tick_params(axis="x", rotation=40)
        row[0].set_ylabel(f"{METRICS[metric]} (%)")
    _add_legend(figure)
    return figure


def _add_legend(figure: Figure) -> None:
    """Put the legend of the first axes below all axes."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)


def _finish(ax: Axes, metric: str, setting: str, title: str, variants: Mapping[str, str]) -> None:
    """Label the ticks, and mark the value of a random guess."""
    style_axes(ax, title, "", "")
    ax.set_xticks(range(len(variants)), list(variants.values()))
    if metric != "oscr":
        chance = CHANCE[setting] if metric == "macro_recall" else 50
        ax.axhline(chance, color="#777777", linestyle=":", linewidth=1)


def _percent(values: Iterable[float]) -> list[float]:
    return [100 * value for value in values]


def tabulate(records: Records) -> list[Row]:
    """Return one row per setting and variant: each metric with its interval, in percent."""
    return [
        {
            "setting": setting,
            "variant": variant,
            **{
                title: "{:.1f} ({:.1f}–{:.1f})".format(*_percent(values[metric]))
                for metric, title in METRICS.items()
            },
        }
        for setting, record in records.items()
        for variant, values in record["metrics"].items()
    ]


def tabulate_differences(records: Records) -> list[Row]:
    """Return one row per setting, pair and metric: the difference with its interval, in points."""
    return [
        {
            "setting": setting,
            "pair": pair,
            "metric": metric,
            "difference": "{:+.1f} ({:+.1f} to {:+.1f})".format(*_percent(values)),
        }
        for setting, record in records.items()
        for pair, metrics in record["differences"].items()
        for metric, values in metrics.items()
    ]


def draw(clean: Records, perturbed: Records, out: Path, pictures: Path) -> None:
    """Write the plots to ``pictures``, and ``tables.md`` to ``out``."""
    sizes = {f"size {n} OSCR": str(n) for n in (1, 2, 5, 10, 20, 50, 100)}
    sizes["size 0 OSCR"] = "all"
    blocks = {f"block {b}": str(b) for b in range(12)}
    names = ("none", "jpeg:75", "blur:3", "crop:10", "resize:128")
    with rc_context(SVG):
        figures = {
            "blocks": draw_curves(clean, blocks, ("macro_recall", "auroc", "oscr"), "block"),
            "low-data": draw_curves(clean, sizes, ("macro_recall", "oscr"), "images per origin"),
            "perturbed": draw_perturbations(perturbed, {n: n.replace(":", " ") for n in names}),
        }
        for name, figure in figures.items():
            with replace_file(pictures / f"paper-{name}.svg") as temporary:
                figure.savefig(temporary, format="svg", metadata={"Date": None})
    tables = [tabulate(clean), tabulate(perturbed), tabulate_differences(clean)]
    write_text(out / "tables.md", "\n".join(format_markdown_table(rows) for rows in tables))
