"""Reports of the robustness, low-data and few-shot experiments: tables, JSON and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from whichgen.experiments.few_shot import FewShotPoint
from whichgen.experiments.low_data import LowDataPoint
from whichgen.experiments.robustness import RobustnessPoint, get_metric, mean_over_intensities
from whichgen.io.atomic import write_text
from whichgen.io.tables import Row, markdown_table, percent, write_csv, write_json
from whichgen.report.figures.experiments import few_shot_plot, low_data_plot, robustness_plot
from whichgen.report.figures.style import Plot, save_png
from whichgen.report.result_tables import METRICS


def robustness_rows(points: Sequence[RobustnessPoint]) -> list[Row]:
    """Return the metrics of each perturbation, in percent."""
    return [
        {
            "perturbation": str(point.perturbation or "none"),
            **{name: percent(get_metric(point.evaluation, key)) for key, name in METRICS.items()},
            "known accepted": percent(point.evaluation.acceptance_rate),
            "unknown rejected": percent(point.evaluation.rejection_rate),
        }
        for point in points
    ]


def write_robustness(
    points: Sequence[RobustnessPoint], run_metadata: Mapping[str, Any], folder: Path
) -> Path:
    """Write ``robustness.json``, ``.csv``, ``.md`` and ``plots/robustness.png``."""
    kinds = dict.fromkeys(p.perturbation.kind for p in points if p.perturbation)
    means: list[Row] = [
        {
            "mean over five intensities": kind,
            **{
                name: percent(mean_over_intensities(points, kind, key))
                for key, name in METRICS.items()
            },
        }
        for kind in kinds
    ]
    record = {
        "run_metadata": dict(run_metadata),
        "points": [
            {
                "perturbation": str(p.perturbation) if p.perturbation else None,
                "test": asdict(p.evaluation),
                "skipped": list(p.skipped),
            }
            for p in points
        ],
    }
    rates: list[Row] = [
        {
            "perturbation": str(p.perturbation or "none"),
            **{key: get_metric(p.evaluation, key) for key in METRICS},
            "acceptance_rate": p.evaluation.acceptance_rate,
            "rejection_rate": p.evaluation.rejection_rate,
        }
        for p in points
    ]
    test = points[0].evaluation
    text = (
        f"Measured on {test.known_images} images of known origins and {test.unknown_images} images "
        f"of unknown generators. In percent.\n\n{markdown_table(means)}\n"
        f"{markdown_table(robustness_rows(points))}"
    )
    return _write(folder, record, rates, text, robustness_plot(points))


def low_data_rows(points: Sequence[LowDataPoint]) -> list[Row]:
    """Return mean ± standard deviation over seeds per number of training images, in percent."""
    rows: list[Row] = []
    for size in sorted({p.samples_per_class for p in points}):
        of_size = [p for p in points if p.samples_per_class == size]
        metrics = {name: _spread([getattr(p, k) for p in of_size]) for k, name in METRICS.items()}
        rows.append({"images per class": size, "seeds": len(of_size), **metrics})
    return rows


def write_low_data(
    points: Sequence[LowDataPoint], run_metadata: Mapping[str, Any], folder: Path
) -> Path:
    """Write ``lowdata.json``, ``.csv``, ``.md`` and ``plots/lowdata.png``."""
    rows = [asdict(point) for point in points]
    record = {"run_metadata": dict(run_metadata), "points": rows}
    text = (
        "Test figures in percent: mean ± standard deviation over seeds. Only the training set is "
        f"reduced.\n\n{markdown_table(low_data_rows(points))}"
    )
    return _write(folder, record, rows, text, low_data_plot(points))


def few_shot_rows(points: Sequence[FewShotPoint]) -> list[Row]:
    """Return metrics per number of enrolled images, over generators and seeds.

    Metrics are in percent, changes of accuracy in percentage points.
    """
    rows: list[Row] = []
    for images in sorted({p.images for p in points}):
        group = [p for p in points if p.images == images]
        changes = [100 * (p.accuracy_after - p.accuracy_before) for p in group]
        rows.append(
            {
                "images": images,
                "generators": len({p.generator for p in group}),
                "enrollments": len(group),
                "recall": _spread([p.recall for p in group]),
                "accepted": _spread([p.accepted for p in group]),
                "AUROC": _spread([p.auroc for p in group]),
                "accuracy change": f"{np.mean(changes):+.1f}",
                "worst change": f"{min(changes):+.1f}",
            }
        )
    return rows


def write_few_shot(
    points: Sequence[FewShotPoint], run_metadata: Mapping[str, Any], folder: Path
) -> Path:
    """Write ``fewshot.json``, ``.csv``, ``.md`` and ``plots/fewshot.png``."""
    rows = [asdict(point) for point in points]
    record = {"run_metadata": dict(run_metadata), "points": rows}
    text = (
        "Each unknown generator is enrolled in turn, including those of the validation set, which "
        "were used to select the model. Recall: images of the new generator with the correct "
        "origin. Accepted: these with a score above the threshold, too. AUROC: known origins and "
        "the new one vs. the remaining unknown generators. All in percent, mean ± standard "
        "deviation over generators and seeds; larger numbers of images leave fewer generators. "
        "Accuracy change: closed-set accuracy of the other origins, in percentage points.\n\n"
        f"{markdown_table(few_shot_rows(points))}"
    )
    return _write(folder, record, rows, text, few_shot_plot(points))


def _write(
    folder: Path, record: Mapping[str, Any], csv_rows: Sequence[Row], text: str, plot: Plot
) -> Path:
    name = plot.name
    write_json(folder / f"{name}.json", record)
    write_csv(folder / f"{name}.csv", csv_rows)
    image = f"![{plot.title}](plots/{name}.png)"
    write_text(folder / f"{name}.md", f"# {plot.title}\n\n{text}\n{image}\n")
    save_png(plot.figure, folder / "plots" / f"{name}.png")
    return folder


def _spread(rates: Sequence[float | None]) -> str:
    """Format mean ± sample standard deviation of the defined rates, in percent."""
    values = [100 * rate for rate in rates if rate is not None]
    if not values:
        return "–"
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.1f} ± {deviation:.1f}"
