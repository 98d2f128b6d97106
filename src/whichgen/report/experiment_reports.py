"""Write reports of the robustness, low-data and few-shot experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whichgen.data.images.perturbations import Perturbation
from whichgen.experiments.few_shot import FewShotPoint
from whichgen.experiments.low_data import LowDataPoint
from whichgen.experiments.robustness import RobustnessPoint
from whichgen.io.atomic_writes import write_text
from whichgen.io.result_files import Row, format_markdown_table, write_csv, write_json
from whichgen.report.figures import experiment_curves
from whichgen.report.figures.style import Plot, save_png


def write_experiment(
    plot: Plot,
    points: Sequence[RobustnessPoint | LowDataPoint | FewShotPoint],
    run_metadata: Mapping[str, Any],
    folder: Path,
    *,
    text: str = "",
    note: str = "",
    csv_rows: Sequence[Row] = (),
) -> Path:
    """Write the results of an experiment to ``folder``, and return ``folder``.

    The files are ``NAME.json``, ``NAME.csv``, ``NAME.md`` and ``plots/NAME.png``, where ``NAME`` is
    the name of the plot.

    Parameters
    ----------
    plot
        Plot of the metrics, with its table.
    points
        Metrics of each measurement.
    run_metadata
        Metadata of the experiment for the JSON file.
    text
        Text before the table in the Markdown file; default: the caption of the plot, then ``note``.
    note
        Sentences about this experiment; ignored if ``text`` is not empty.
    csv_rows
        Rows of the CSV file; default: ``points``.

    Raises
    ------
    OSError
        A file can't be written.
    """
    name = plot.name
    records = [
        {key: str(v) if isinstance(v, Perturbation) else v for key, v in vars(point).items()}
        for point in points
    ]
    write_json(folder / f"{name}.json", {"run_metadata": run_metadata, "points": records})
    write_csv(folder / f"{name}.csv", csv_rows or records)
    table, image = format_markdown_table(plot.rows), f"![{plot.title}](plots/{name}.png)"
    text = text or f"{plot.caption} {note}".strip() + "\n"
    write_text(folder / f"{name}.md", f"# {plot.title}\n\n{text}\n{table}\n{image}\n")
    save_png(plot.figure, folder / "plots" / f"{name}.png")
    return folder


def write_robustness(
    points: Sequence[RobustnessPoint], run_metadata: Mapping[str, Any], folder: Path
) -> Path:
    """Write the results of a robustness experiment to ``folder``, and return ``folder``.

    See :func:`write_experiment` for the files. The Markdown file also contains a table with the
    mean of accuracy, AUROC and OSCR over the intensities of each kind of perturbation.

    Parameters
    ----------
    points
        Metrics for each perturbation, including those of unperturbed images (``perturbation`` is
        ``None``).
    run_metadata
        Metadata of the experiment for the JSON file.
    folder
        Folder for the files.

    Raises
    ------
    OSError
        A file can't be written.
    """
    test = points[0].test
    means = format_markdown_table(experiment_curves.tabulate_mean_robustness(points))
    note = f" {test.source_overlap.note}" if test.source_overlap else ""
    text = (
        f"Measured on {test.known_images} images of known origins and {test.unknown_images} images "
        f"of unknown generators. In percent.{note}\n\n{means}"
    )
    plot = experiment_curves.plot_robustness(points)
    rows = experiment_curves.list_robustness_metrics(points)
    return write_experiment(plot, points, run_metadata, folder, text=text, csv_rows=rows)
