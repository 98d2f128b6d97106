"""One self-contained HTML page about one run, or several runs side by side."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from whichgen.constants import UNKNOWN
from whichgen.evaluation.predictions import Predictions
from whichgen.experiments.low_data import LowDataPoint
from whichgen.io.atomic import write_text
from whichgen.progress import Progress, no_progress
from whichgen.report.experiment_reports import low_data_rows, robustness_rows
from whichgen.report.figures.experiments import low_data_plot, robustness_plot
from whichgen.report.figures.image_map import map_positions
from whichgen.report.figures.open_set import oscr_plot, roc_plot
from whichgen.report.figures.run_plots import run_plots
from whichgen.report.figures.style import plain_text
from whichgen.report.result_tables import headline_metrics
from whichgen.report.run_reader import Run
from whichgen.report.templating import make_environment
from whichgen.report.thumbnails import Thumbnails
from whichgen.version import __version__

#: Maximum numbers of thumbnails on the map, and of errors of each type.
MAP_THUMBNAILS, MAX_ERRORS = 400, 12

#: The metrics shown large at the top.
_KEY_METRICS = ("accuracy", "macro_f1", "auroc", "oscr", "tnr_at_tpr95")


@dataclass(frozen=True)
class Misattribution:
    """A test image with a wrong prediction; ``rejected``: its score is below the threshold."""

    path: str
    file: str
    origin: str
    predicted: str
    score: float
    rejected: bool


def write_html_page(
    runs: Sequence[Run],
    file: Path,
    *,
    low_data: Sequence[LowDataPoint] = (),
    images: bool = True,
    progress: Progress = no_progress,
) -> Thumbnails:
    """Write the page.

    Parameters
    ----------
    low_data
        Points of a low-data experiment to show as well.
    images
        Embed thumbnails of test images that still exist.

    Returns
    -------
    Thumbnails
        The embedded thumbnails, and the images that could not be read.
    """
    labels = _labels(runs)
    thumbnails = Thumbnails(images)
    sections = [
        _run_section(f"run{i}", label, run, thumbnails)
        for i, (label, run) in enumerate(
            progress(labels.items(), description="Writing the page", total=len(labels)), start=1
        )
    ]
    script = _read_template("page.js")
    with plain_text():
        plots = [roc_plot(labels), oscr_plot(labels)] if len(runs) > 1 else []
        low_data_figure = low_data_plot(low_data) if low_data else None
    page = (
        make_environment(autoescape=True)
        .get_template("page.html.j2")
        .render(
            title=sections[0]["label"] if len(runs) == 1 else f"{len(runs)} runs side by side",
            policy=_content_security_policy(script),
            css=Markup(_read_template("page.css")),
            script=Markup(script),
            sections=sections,
            comparison=labels if len(runs) > 1 else {},
            same_images=_have_same_images(runs),
            comparison_plots=[plot for plot in plots if plot],
            low_data_plot=low_data_figure,
            low_data_rows=low_data_rows(low_data),
            thumbnails=thumbnails,
            version=__version__,
        )
    )
    write_text(file, page)
    return thumbnails


def _read_template(name: str) -> str:
    return (files("whichgen.report") / "templates" / name).read_text(encoding="utf-8")


def _content_security_policy(script: str) -> str:
    """Return a policy that loads nothing and runs only ``script``, whatever names contain."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _labels(runs: Sequence[Run]) -> dict[str, Run]:
    """Return the runs by unique labels."""
    names = [
        f"{'fusion' if run.results.members else run.results.head_method}, "
        f"{Path(run.results.run_metadata.encoder.name).name}"
        for run in runs
    ]
    if len(runs) == 1:
        return {names[0]: runs[0]}
    return {f"{i}: {name}": run for i, (name, run) in enumerate(zip(names, runs, strict=True), 1)}


def _have_same_images(runs: Sequence[Run]) -> bool:
    first, *others = (run.predictions.paths for run in runs)
    return all(np.array_equal(a, b) for other in others for a, b in zip(first, other, strict=True))


def _run_section(prefix: str, label: str, run: Run, thumbnails: Thumbnails) -> dict[str, Any]:
    known_errors = _most_confident(
        run, run.known, 0, run.known.predicted != run.known.labels(run.origins)
    )
    unknown_errors = _most_confident(run, run.unknown, 1, run.unknown.scores >= run.threshold)
    thumbnails.add(error.path for error in (*known_errors, *unknown_errors))
    # Evenly over origins: every origin has thumbnails in proportion to its images.
    order = np.argsort(run.image_map.origins, kind="stable")
    chosen = np.unique(np.linspace(0, len(order) - 1, MAP_THUMBNAILS).round().astype(int))
    thumbnails.add(run.image_map.paths[order[chosen]].tolist() if len(order) else ())
    plots = run_plots(run)
    image_map = [plot for plot in plots if plot.name == "embedding"]
    with plain_text():
        robustness = robustness_plot(run.robustness) if run.robustness else None
    intervals = run.results.intervals
    return {
        "id": prefix,
        "label": label,
        "run": run,
        "results": run.results,
        "key_metrics": [
            (metric, intervals.get(metric.key))
            for metric in headline_metrics(run.results.test)
            if metric.key in _KEY_METRICS
        ],
        "known_errors": known_errors,
        "unknown_errors": unknown_errors,
        "plots": [plot for plot in plots if plot not in image_map],
        "image_map": image_map[0] if image_map else None,
        "map_points": _map_points(run, image_map[0].figure, thumbnails) if image_map else [],
        "robustness_plot": robustness,
        "robustness_rows": robustness_rows(run.robustness),
    }


def _most_confident(
    run: Run, predictions: Predictions, half: int, wrong: np.ndarray
) -> list[Misattribution]:
    """Return the errors with the highest scores, at most :data:`MAX_ERRORS`."""
    paths = run.predictions.paths[half]
    rows = np.flatnonzero(wrong)
    rows = rows[np.argsort(-predictions.scores[rows], kind="stable")][:MAX_ERRORS]
    common = _common_folder(run)
    return [
        Misattribution(
            path=str(paths[i]),
            file=str(paths[i]).removeprefix(common),
            origin=str(predictions.origins[i]),
            predicted=run.origins[int(predictions.predicted[i])],
            score=float(predictions.scores[i]),
            rejected=bool(predictions.scores[i] < run.threshold),
        )
        for i in rows.tolist()
    ]


def _common_folder(run: Run) -> str:
    """Return the folder of all test images with a slash, to shorten their names."""
    paths = [str(path) for half in run.predictions.paths for path in half.tolist()]
    try:
        return f"{os.path.commonpath([str(Path(p).parent.parent) for p in paths])}/"
    except ValueError:  # absolute and relative paths
        return ""


def _map_points(run: Run, figure: Any, thumbnails: Thumbnails) -> list[list[Any]]:
    """Return x, y (fractions of the figure), text and thumbnail number of each point."""
    predicted: Mapping[str, tuple[str, float]] = {
        path: (UNKNOWN if index < 0 else run.origins[index], score)
        for predictions, paths in zip(run.predictions.answers, run.predictions.paths, strict=True)
        for path, index, score in zip(
            paths.tolist(),
            run.decide(predictions).tolist(),
            predictions.scores.tolist(),
            strict=True,
        )
    }
    image_map = run.image_map
    points = []
    for (x, y), path, origin in zip(
        map_positions(figure, run).tolist(),
        image_map.paths.tolist(),
        image_map.origins.tolist(),
        strict=True,
    ):
        answer, score = predicted.get(path, ("–", float("nan")))
        text = f"true: {origin}\npredicted: {answer}\nscore: {score:.9g}"
        points.append([round(x, 4), round(y, 4), text, thumbnails.index.get(path, -1)])
    return points
