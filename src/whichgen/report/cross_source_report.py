"""Tables, plot and report of the cross-source experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whichgen.constants import REAL
from whichgen.evaluation.answer_metrics import ANSWER_TITLES
from whichgen.evaluation.headline_metrics import METRIC_TITLES
from whichgen.experiments.cross_source import CROSS_SOURCE_METRICS, CrossSourceResult
from whichgen.io.atomic_writes import write_text
from whichgen.io.result_files import Row, format_markdown_table, format_rate, write_csv, write_json
from whichgen.report.figures.style import Plot, create_axes, get_color, save_png
from whichgen.report.result_tables import tabulate_sources

_TITLES = {name: METRIC_TITLES[name] for name in CROSS_SOURCE_METRICS} | ANSWER_TITLES

_CALIBRATION_TITLE = "Expected calibration error"

#: Name of the plot and of all files, without suffix.
_NAME = "cross_source"


def tabulate_cross_source_metrics(result: CrossSourceResult) -> list[dict[str, str]]:
    """Return one row per defined metric: its title, and its value and 95 % interval in percent.

    The last row is the expected calibration error, which has no interval.
    """
    rows = []
    for name, title in _TITLES.items():
        if interval := result.metrics.get(name):
            value, low, high = map(format_rate, (interval.value, interval.low, interval.high))
            rows.append({"metric": title, "value": f"{value} ({low}–{high})"})
    error = format_rate(result.calibration_error)
    return [*rows, {"metric": _CALIBRATION_TITLE, "value": error}]


def tabulate_cross_source_results(results: Sequence[CrossSourceResult]) -> list[Row]:
    """Return one row per metric, with one column per result; undefined metrics are a dash.

    The cells are the values of :func:`tabulate_cross_source_metrics`; the title of a column is the
    title of the result's split.
    """
    columns = {
        r.split.title: {m["metric"]: m["value"] for m in tabulate_cross_source_metrics(r)}
        for r in results
    }
    titles = [*_TITLES.values(), _CALIBRATION_TITLE]
    return [
        {"metric": title, **{name: values.get(title, "–") for name, values in columns.items()}}
        for title in titles
    ]


def plot_precision(results: Sequence[CrossSourceResult]) -> Plot:
    """Plot precision against coverage of the predicted generators, with one curve per result.

    Each point is one threshold of the open-set score. The selected images are those that reach the
    threshold and whose most probable origin is a generator. Precision is the fraction of the
    selected images whose most probable origin is correct; coverage is the fraction of the images of
    known generators that are selected.
    """
    title = "Precision of named generators"
    figure, ax = create_axes(title, "coverage of known generators (%)", "precision (%)")
    for i, result in enumerate(results):
        images = result.images
        true_origins, predicted_origins = images.origins, np.array(result.origins)[images.predicted]
        is_generator = np.isin(true_origins, [o for o in result.origins if o != REAL])
        rows = np.flatnonzero(predicted_origins != REAL)
        rows = rows[np.argsort(-images.scores[rows], kind="stable")]
        count = np.arange(1, len(rows) + 1)
        precision = np.cumsum(predicted_origins[rows] == true_origins[rows]) / count
        coverage = np.cumsum(is_generator[rows]) / is_generator.sum()
        ax.plot(100 * coverage, 100 * precision, color=get_color(i), label=result.split.title)
    ax.set_ylim(0, 102)
    ax.legend(fontsize=8, loc="lower left")
    return Plot(
        _NAME,
        title,
        figure,
        "Precision of the answers that name a generator, against the fraction of images of known "
        "generators with such an answer. The threshold decreases from left to right.",
    )


def write_cross_source(
    results: Sequence[CrossSourceResult], run_metadata: Mapping[str, Any], folder: Path
) -> None:
    """Write the results of the experiment to ``folder``.

    The files are ``cross_source.json`` (metrics, counts per source, models), ``cross_source.csv``
    (one row per image of the first result), ``cross_source.md`` and ``plots/cross_source.png``.

    Parameters
    ----------
    results
        One or more results. The first is the main result, with all sources and folds by source: its
        images and sources are listed.
    run_metadata
        Metadata of the experiment for the JSON file.
    folder
        Folder for the files.

    Raises
    ------
    OSError
        A file can't be written.
    """
    main_result, plot = results[0], plot_precision(results)
    records = [
        {
            "split": result.split,
            "metrics": result.metrics,
            "calibration_error": result.calibration_error,
            "sources": result.count_by_source(),
            "models": result.models,
        }
        for result in results
    ]
    write_json(folder / f"{_NAME}.json", {"run_metadata": run_metadata, "results": records})
    write_csv(folder / f"{_NAME}.csv", list(main_result.iterate_image_rows()))
    n_sources = len(set(main_result.images.sources))  # type: ignore[arg-type]
    ignores_sources = any(not result.split.by_source for result in results)
    exception = " (in the column “same sources”, on other images)" if ignores_sources else ""
    text = (
        "# Cross-source experiment\n\n"
        f"{len(main_result.known)} images of known origins and {len(main_result.unknown)} of "
        f"unknown generators from {n_sources} sources, {main_result.split.n_folds} folds. Each "
        "image is tested once, by a model that was selected, fitted and calibrated on other "
        f"sources{exception}. In percent, with 95 % bootstrap intervals over sources.\n\n"
        f"{format_markdown_table(tabulate_cross_source_results(results))}\n"
        f"![{plot.title}](plots/{_NAME}.png)\n\n{plot.caption}\n\n"
        "## Sources\n\nNumbers of images of each source, when it was held out. Called synthetic: "
        "the answer is a generator, a family of generators or “synthetic”.\n\n"
        f"{format_markdown_table(tabulate_sources(main_result.count_by_source()))}"
    )
    write_text(folder / f"{_NAME}.md", text)
    save_png(plot.figure, folder / "plots" / f"{_NAME}.png")
