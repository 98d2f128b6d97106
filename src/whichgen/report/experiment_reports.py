"""Reports of the robustness, low-data and few-shot experiments: tables, JSON and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whichgen.experiments.few_shot import FewShotPoint
from whichgen.experiments.low_data import LowDataPoint
from whichgen.experiments.robustness import RobustnessPoint
from whichgen.io.atomic import write_text
from whichgen.io.tables import Row, markdown_table, write_csv, write_json
from whichgen.report.figures.experiments import (
    mean_robustness_rows,
    robustness_plot,
    robustness_rates,
)
from whichgen.report.figures.style import Plot, save_png


def write_experiment(
    plot: Plot,
    points: Sequence[LowDataPoint | FewShotPoint],
    run_metadata: Mapping[str, Any],
    folder: Path,
) -> Path:
    """Write the points of a plot as ``NAME.json``, ``.csv``, ``.md`` and ``plots/NAME.png``."""
    records = list(map(vars, points))
    write_csv(folder / f"{plot.name}.csv", records)
    return _write_report(plot, f"{plot.caption}\n", records, run_metadata, folder)


def write_robustness(
    points: Sequence[RobustnessPoint], run_metadata: Mapping[str, Any], folder: Path
) -> Path:
    """Write ``robustness.json``, ``.csv``, ``.md`` and ``plots/robustness.png``."""
    records = [{**vars(p), "perturbation": str(p.perturbation or "") or None} for p in points]
    test = points[0].test
    text = (
        f"Measured on {test.known_images} images of known origins and {test.unknown_images} images "
        f"of unknown generators. In percent.\n\n{markdown_table(mean_robustness_rows(points))}"
    )
    write_csv(folder / "robustness.csv", robustness_rates(points))
    return _write_report(robustness_plot(points), text, records, run_metadata, folder)


def _write_report(
    plot: Plot, text: str, records: Sequence[Row], run_metadata: Mapping[str, Any], folder: Path
) -> Path:
    name = plot.name
    write_json(folder / f"{name}.json", {"run_metadata": run_metadata, "points": records})
    image = f"![{plot.title}](plots/{name}.png)"
    table = markdown_table(plot.rows)
    write_text(folder / f"{name}.md", f"# {plot.title}\n\n{text}\n{table}\n{image}\n")
    save_png(plot.figure, folder / "plots" / f"{name}.png")
    return folder
