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
from whichgen.report.experiment_tables import mean_robustness_rows, robustness_rates
from whichgen.report.figures.experiments import few_shot_plot, low_data_plot, robustness_plot
from whichgen.report.figures.style import Plot, save_png


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
    rates = robustness_rates(points)
    return _write(robustness_plot(points), text, records, run_metadata, folder, csv_rows=rates)


def write_low_data(
    points: Sequence[LowDataPoint], run_metadata: Mapping[str, Any], folder: Path
) -> Path:
    """Write ``lowdata.json``, ``.csv``, ``.md`` and ``plots/lowdata.png``."""
    text = (
        "Test figures in percent: mean ± standard deviation over seeds. Only the training set is "
        "reduced.\n"
    )
    return _write(low_data_plot(points), text, list(map(vars, points)), run_metadata, folder)


def write_few_shot(
    points: Sequence[FewShotPoint], run_metadata: Mapping[str, Any], folder: Path
) -> Path:
    """Write ``fewshot.json``, ``.csv``, ``.md`` and ``plots/fewshot.png``."""
    text = (
        "Each unknown generator is enrolled in turn, including those of the validation set, which "
        "were used to select the model. Recall: images of the new generator with the correct "
        "origin. Accepted: these with a score above the threshold, too. AUROC: known origins and "
        "the new one vs. the remaining unknown generators. All in percent, mean ± standard "
        "deviation over generators and seeds; larger numbers of images leave fewer generators. "
        "Accuracy change: closed-set accuracy of the other origins, in percentage points.\n"
    )
    return _write(few_shot_plot(points), text, list(map(vars, points)), run_metadata, folder)


def _write(
    plot: Plot,
    text: str,
    records: Sequence[Row],
    run_metadata: Mapping[str, Any],
    folder: Path,
    *,
    csv_rows: Sequence[Row] = (),
) -> Path:
    name = plot.name
    write_json(folder / f"{name}.json", {"run_metadata": run_metadata, "points": records})
    write_csv(folder / f"{name}.csv", csv_rows or records)
    image = f"![{plot.title}](plots/{name}.png)"
    table = markdown_table(plot.rows)
    write_text(folder / f"{name}.md", f"# {plot.title}\n\n{text}\n{table}\n{image}\n")
    save_png(plot.figure, folder / "plots" / f"{name}.png")
    return folder
