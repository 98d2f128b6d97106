"""The page itself: what of runs is told, in which order, as one HTML file."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from whichgen.experiments.low_data import LowDataPoint
from whichgen.io.atomic import write_text
from whichgen.io.tables import percent
from whichgen.progress import Progress, no_progress
from whichgen.report.page_tables import (
    FIRST,
    Mistake,
    control_rows,
    expert_rows,
    first_figures,
    flat,
    generator_rows,
    image_rows,
    known_mistakes,
    level_rows,
    origin_rows,
    side_by_side,
    synthetic_rows,
    unknown_mistakes,
)
from whichgen.report.page_text import (
    about_pictures,
    asked,
    data,
    facts,
    model,
    shuffled,
    warnings,
)
from whichgen.report.panels import Panel
from whichgen.report.panels_answers import (
    closed_panel,
    map_panel,
    open_panel,
    score_panel,
)
from whichgen.report.panels_curves import (
    block_panel,
    lowdata_panel,
    reliability_panel,
    robustness_panel,
)
from whichgen.report.panels_roc import oscr_panel, roc_panel
from whichgen.report.result_tables import headline_rows
from whichgen.report.run_folder import fusion_candidate_rows
from whichgen.report.run_reader import Run
from whichgen.report.thumbnails import Thumbnails
from whichgen.version import __version__

#: Images beside points of a map, and of errors of either kind.
MAP_IMAGES, MISTAKES = 400, 12

#: What stands in the place of plots that a run's folder has nothing for.
_ABSENT = {
    "roc": "No ROC and OSCR: there are no unknown test images.",
    "reliability": "No reliability diagram: this older run did not keep what it shows.",
    "map": "No map of the test images: the run has no embedding.csv, which older versions "
    "did not write. Fit again to see it.",
    "robustness": "No robustness curves: “whichgen robustness RUN” measures them.",
}


def write_html_page(
    runs: Sequence[Run],
    file: Path,
    *,
    lowdata: Sequence[LowDataPoint] = (),
    images: bool = True,
    progress: Progress = no_progress,
) -> Thumbnails:
    """Writes the page of one run, or of several side by side.

    Parameters
    ----------
    lowdata
        Fits on few images, if there is an experiment of them to tell of.
    images
        Show test images, as far as they still lie where they were tested.

    Returns
    -------
    Thumbnails
        Those on the page, and which could not be read.
    """
    labels = _labels(runs)
    pictures = Thumbnails(images)
    shown: list[dict[str, Any]] = []
    for label, run in progress(labels.items(), description="Reporting", total=len(labels)):
        shown.append(_run_context(f"run{len(shown) + 1}", label, run, pictures))
    scripts = {"plotly_js": get_plotlyjs(), "page_js": _text("page.js")}
    title = (
        f"Which generator made it? {shown[0]['label']}"
        if len(shown) == 1
        else f"Which generator made it? {len(shown)} runs side by side"
    )
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        _text("page.html.j2")
    )
    page = template.render(
        title=title,
        policy=_policy(scripts.values()),
        css=Markup(_text("page.css")),
        runs=shown,
        together=_together(labels) if len(labels) > 1 else None,
        lowdata=lowdata_panel(lowdata) if lowdata else None,
        pictures=pictures.uris,
        version=__version__,
        **{name: Markup(text) for name, text in scripts.items()},
    )
    write_text(file, page)
    return pictures


def _text(name: str) -> str:
    return (files("whichgen.report") / "templates" / name).read_text(encoding="utf-8")


def _policy(scripts: Any) -> str:
    """Nothing is loaded from anywhere, and no script runs but these, whatever a name contains."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    # plotly writes styles into the page, and draws a picture to save by way of a blob.
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _labels(runs: Sequence[Run]) -> dict[str, Run]:
    """The runs by names that differ."""

    def name(run: Run) -> str:
        encoder = run.results.run_metadata.encoder.get("name", "")
        return f"{run.head}, {Path(str(encoder)).name}" if encoder else run.head

    if len(runs) == 1:
        return {name(runs[0]): runs[0]}
    return {f"{i}: {name(run)}": run for i, run in enumerate(runs, start=1)}


def _together(runs: Mapping[str, Run]) -> dict[str, Any]:
    first, *others = runs.values()
    same = all(
        np.array_equal(a, b)
        for other in others
        for a, b in zip(first.predictions.paths, other.predictions.paths, strict=True)
    )
    panels = [panel for panel in (roc_panel(runs), oscr_panel(runs)) if panel]
    questions = {asked(run) for run in runs.values()}
    return {
        "asked": questions.pop() if len(questions) == 1 else "",
        "rows": side_by_side(runs),
        "panels": panels,
        "warnings": []
        if same
        else [
            "These runs were not tested on the same images: a difference between their figures may "
            "be one of the images."
        ],
    }


def _run_context(prefix: str, label: str, run: Run, pictures: Thumbnails) -> dict[str, Any]:
    results = run.results
    wrong, accepted = known_mistakes(run, MISTAKES), unknown_mistakes(run, MISTAKES)
    pictures.add(one.path for one in (*wrong, *accepted))
    if run.map is not None:
        order = np.argsort(run.map.origins, kind="stable")
        taken = np.unique(np.linspace(0, len(order) - 1, MAP_IMAGES).round().astype(int))
        pictures.add(run.map.paths[order[taken]].tolist())
    panels, absent = _panels(run, pictures)
    contents = {
        "controls": "Controls",
        "origins": "Known origins",
        "unknown": "Unknown generators",
        "plots": "Plots",
        **({"fusion": "What was fused"} if run.fused else {}),
        "errors": "Errors",
        "data": "Data card",
        "model": "Model card",
    }
    return {
        "id": prefix,
        "label": label,
        "folder": str(run.folder),
        "contents": list(contents.items()),
        "asked": asked(run),
        "facts": facts(run),
        "warnings": warnings(run),
        "notes": list(dict.fromkeys((*results.protocol.notes, *results.notes))),
        "drawn": "images" if run.predictions.groups is None else "groups of images",
        "first": _first(run),
        "headline": headline_rows(results.test, results.intervals),
        "leaks": control_rows(run),
        "verdict": results.shortcut_check.message if results.shortcut_check else "",
        "shuffled": shuffled(run),
        "origin_rows": origin_rows(run),
        "unknown_rows": generator_rows(run),
        "synthetic": synthetic_rows(run),
        "levels": level_rows(run),
        "panels": panels,
        "absent": absent,
        "members": fusion_candidate_rows(results.members, "members"),
        "chosen": results.selection.members,
        "scores": fusion_candidate_rows(results.scores, "score"),
        "experts": expert_rows(run),
        "wrong": _with_pictures(wrong, run, pictures),
        "accepted": _with_pictures(accepted, run, pictures),
        "pictures": about_pictures(pictures),
        "images": image_rows(run),
        "images_about": ""
        if results.images
        else "An older run: it kept the numbers of test images only.",
        "data": data(run),
        "model": model(run),
        "record": flat(results.run_metadata.model_dump()),
    }


def _panels(run: Run, pictures: Thumbnails) -> tuple[list[Panel], list[str]]:
    """The plots that there are, and a line for each that is missing."""
    alone = {"": run}
    calibration = run.results.calibration
    drawn = (
        roc_panel(alone),
        oscr_panel(alone),
        closed_panel(run),
        open_panel(run),
        block_panel(run),
        score_panel(run),
        reliability_panel(calibration) if calibration else None,
        map_panel(run, pictures.number),
        robustness_panel(run.robustness),
    )
    there = [panel for panel in drawn if panel]
    names = [panel.name for panel in there]
    return there, [line for name, line in _ABSENT.items() if name not in names]


def _first(run: Run) -> list[dict[str, Any]]:
    return [
        {
            "name": FIRST[name],
            "value": percent(value),
            "interval": f"{percent(bounds[0])} – {percent(bounds[1])}" if bounds else "",
            "left": f"{100 * bounds[0]:.2f}" if bounds else "",
            "width": f"{100 * (bounds[1] - bounds[0]):.2f}" if bounds else "",
        }
        for name, (value, bounds) in first_figures(run).items()
    ]


def _with_pictures(
    found: Sequence[Mistake], run: Run, pictures: Thumbnails
) -> list[dict[str, Any]]:
    base = _common_folder(run)
    return [
        {
            **asdict(one),
            "file": one.path.removeprefix(base),
            "picture": pictures.uri(one.path),
        }
        for one in found
    ]


def _common_folder(run: Run) -> str:
    """The folder that all test images are in, with a slash; it would only take room."""
    paths = [str(path) for half in run.predictions.paths for path in half.tolist()]
    try:
        return f"{os.path.commonpath([str(Path(p).parent.parent) for p in paths])}/"
    except ValueError:  # some absolute, some not
        return ""
