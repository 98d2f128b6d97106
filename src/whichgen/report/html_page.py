"""Write a self-contained HTML page with the results of one or more runs."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from whichgen.constants import UNKNOWN
from whichgen.evaluation.headline_metrics import KEY_METRICS
from whichgen.experiments.low_data import LowDataPoint
from whichgen.io.atomic_writes import write_text
from whichgen.progress import Progress, no_progress
from whichgen.report.figures.experiment_curves import plot_low_data, plot_robustness
from whichgen.report.figures.image_map import compute_map_positions
from whichgen.report.figures.open_set import plot_curve
from whichgen.report.figures.run_plots import plot_run
from whichgen.report.result_tables import list_metrics
from whichgen.report.run_reader import Run
from whichgen.report.templating import make_environment
from whichgen.report.thumbnails import Thumbnails
from whichgen.version import __version__

#: Maximum number of test images that are selected for thumbnails on the t-SNE plot of a run, and
#: maximum number of errors that are listed for the known and for the unknown test images of a run.
MAP_THUMBNAILS, MAX_ERRORS = 400, 12


def write_html_page(
    runs: Sequence[Run],
    file: Path,
    *,
    low_data: Sequence[LowDataPoint] = (),
    images: bool = True,
    progress: Progress = no_progress,
) -> Thumbnails:
    """Write the HTML page for one or more runs to ``file``, and return its thumbnails.

    Parameters
    ----------
    runs
        The runs, at least one; two or more are compared.
    file
        Path of the HTML file.
    low_data
        Metrics of a low-data experiment; empty to omit its section.
    images
        Whether to embed thumbnails of test images.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    Thumbnails
        The embedded thumbnails, and the paths of missing and unreadable images.

    Raises
    ------
    OSError
        The file can't be written.
    """
    labels = _label_runs(runs)
    thumbnails = Thumbnails(images)
    items = progress(labels.items(), description="Writing the page", total=len(runs))
    sections = [
        _build_run_section(f"run{i}", label, run, thumbnails)
        for i, (label, run) in enumerate(items, start=1)
    ]
    has_multiple_runs = len(runs) > 1
    curves = [plot_curve(labels, "roc"), plot_curve(labels, "oscr")] if has_multiple_runs else []
    script = _read_template("page.js")
    page = make_environment(autoescape=True).get_template("page.html.j2")
    text = page.render(
        title=f"{len(runs)} runs side by side" if has_multiple_runs else sections[0]["label"],
        policy=_make_content_security_policy(script),
        css=Markup(_read_template("page.css")),
        script=Markup(script),
        sections=sections,
        comparison=labels if has_multiple_runs else {},
        same_images=all(all(map(np.array_equal, run.paths, runs[0].paths)) for run in runs),
        comparison_plots=filter(None, curves),
        low_data_plot=plot_low_data(low_data) if low_data else None,
        thumbnails=thumbnails,
        version=__version__,
    )
    write_text(file, text)
    return thumbnails


def _read_template(name: str) -> str:
    return (files("whichgen.report") / "templates" / name).read_text(encoding="utf-8")


def _make_content_security_policy(script: str) -> str:
    """Return a content security policy that allows only ``script`` and no network access."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _label_runs(runs: Sequence[Run]) -> dict[str, Run]:
    """Map a unique label, such as ``1: fusion, ENCODER``, to each run, in the order of ``runs``.

    The number is omitted if there is only one run.
    """
    names = [
        f"{'fusion' if run.results.members else run.results.head_method}, "
        f"{Path(run.results.run_metadata.encoder.name).name}"
        for run in runs
    ]
    if len(runs) == 1:
        return {names[0]: runs[0]}
    return {f"{i}: {name}": run for i, (name, run) in enumerate(zip(names, runs, strict=True), 1)}


def _build_run_section(prefix: str, label: str, run: Run, thumbnails: Thumbnails) -> dict[str, Any]:
    """Return the template values of one run; ``prefix`` begins the HTML IDs of its section."""
    known_errors = _list_confident_errors(run, 0, ~run.known.is_correct(run.origins))
    unknown_errors = _list_confident_errors(run, 1, run.unknown.scores >= run.threshold)
    thumbnails.add(error["path"] for error in (*known_errors, *unknown_errors))
    # Select thumbnails from every origin, in proportion to its number of images.
    order = np.argsort(run.image_map.origins, kind="stable")
    selected_rows = np.unique(np.linspace(0, len(order) - 1, MAP_THUMBNAILS).round().astype(int))
    thumbnails.add(run.image_map.paths[order[selected_rows]].tolist() if len(order) else ())
    plots = {plot.name: plot for plot in plot_run(run)}
    image_map = plots.pop("embedding", None)
    if run.robustness:
        plots["robustness"] = plot_robustness(run.robustness)
    metrics = list_metrics(run.results.test, run.results.intervals)
    return {
        "id": prefix,
        "label": label,
        "run": run,
        "key_metrics": [metric for metric in metrics if metric.key in KEY_METRICS],
        "known_errors": known_errors,
        "unknown_errors": unknown_errors,
        "plots": plots,
        "image_map": image_map,
        "map_points": _build_map_points(run, image_map.figure, thumbnails) if image_map else [],
    }


def _list_confident_errors(run: Run, index: int, is_wrong: np.ndarray) -> list[dict[str, Any]]:
    """Return at most :data:`MAX_ERRORS` wrong predictions, those with the highest open-set scores.

    Parameters
    ----------
    run
        The run.
    index
        0 for known test images, 1 for unknown test images.
    is_wrong
        Whether each of the n known or unknown test images has a wrong prediction: bool array (n,).

    Returns
    -------
    list of dict
        One dictionary per wrong prediction, highest score first; ``rejected`` is true if the score
        is below the threshold.
    """
    predictions, paths = run.predictions[index], run.paths[index].tolist()
    rows = np.flatnonzero(is_wrong)
    rows = rows[np.argsort(-predictions.scores[rows], kind="stable")][:MAX_ERRORS]
    return [
        {
            "path": paths[i],
            "file": "/".join(Path(paths[i]).parts[-2:]),
            "origin": predictions.origins[i],
            "predicted": run.origins[predictions.predicted[i]],
            "score": predictions.scores[i],
            "rejected": predictions.scores[i] < run.threshold,
        }
        for i in rows.tolist()
    ]


def _build_map_points(run: Run, figure: Figure, thumbnails: Thumbnails) -> list[list[Any]]:
    """Return a list [x, y, text, thumbnail index] for each point of the t-SNE plot.

    x and y, in [0, 1], are fractions of the figure's width (from the left) and height (from the
    top). The text shows the true origin, prediction and score. The index is -1 for an image without
    a thumbnail.
    """
    names = np.array([*run.origins, UNKNOWN])  # the decision -1 selects the last name
    prediction_texts = {
        path: f"predicted: {name}\nscore: {score:.9g}"
        for predictions, paths in zip(run.predictions, run.paths, strict=True)
        for path, name, score in zip(
            paths, names[run.decide(predictions)], predictions.scores, strict=True
        )
    }
    numbers = {path: number for number, path in enumerate(thumbnails.uris)}
    positions = compute_map_positions(figure, run).round(4).tolist()
    return [
        [x, y, f"true: {origin}\n{prediction_texts.get(path, '')}", numbers.get(path, -1)]
        for (x, y), path, origin in zip(
            positions, run.image_map.paths, run.image_map.origins, strict=True
        )
    ]
