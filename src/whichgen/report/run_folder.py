"""Write the folder of a run: model, results.json, CSV files, plots and report.md.

Numbers are written first. Figures and ``report.md`` are made from the files, as the HTML page is,
so that all of them agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from whichgen.constants import UNKNOWN
from whichgen.evaluation.predictions import Predictions
from whichgen.features.table import FeatureTable
from whichgen.heads.methods import head_method
from whichgen.io.atomic import write_text
from whichgen.io.tables import Row, write_csv, write_json
from whichgen.models.saved_model import save_model
from whichgen.openset.threshold import decide
from whichgen.progress import Progress, no_progress
from whichgen.report.figures.run_plots import run_plots
from whichgen.report.figures.style import save_png
from whichgen.report.image_map import image_map_rows
from whichgen.report.result_tables import METRICS
from whichgen.report.run_reader import read_run
from whichgen.report.templating import make_environment
from whichgen.training.controls import Controls
from whichgen.training.finalize import COVERAGE, EvaluatedModel
from whichgen.training.fit_block import FitResult
from whichgen.training.fit_fusion import FusionResult

#: Both controls were switched off.
_NO_CONTROLS = Controls()


def write_fit(
    result: FitResult,
    folder: Path,
    *,
    controls: Controls = _NO_CONTROLS,
    progress: Progress = no_progress,
) -> Path:
    """Write everything about a fit on a single block into ``folder``, the model first."""
    parameter = head_method(result.model.head_method).parameter
    blocks = [
        {
            "block": b.validation.block,
            "value": b.validation.value,
            **{f"val_{key}": getattr(b.validation, key) for key in METRICS},
            **{f"test_{key}": getattr(b.test, key) for key in METRICS},
        }
        for b in result.blocks
    ]
    selection = {
        "metric": result.metric,
        "block": result.block,
        "parameter": parameter,
        "value": result.model.hyperparameter,
    }
    _write_numbers(result, folder, controls, {"selection": selection, "blocks": blocks})
    write_csv(folder / "grid.csv", [asdict(candidate) for candidate in result.grid])
    rows = [{"block": b.pop("block"), parameter: b.pop("value"), **b} for b in blocks]
    write_csv(folder / "blocks.csv", rows)
    _write_report(folder, progress)
    return folder


def write_fusion(
    result: FusionResult,
    folder: Path,
    *,
    controls: Controls = _NO_CONTROLS,
    progress: Progress = no_progress,
) -> Path:
    """Write everything about a fusion into ``folder``, the model first."""
    members = [asdict(candidate) for candidate in result.members]
    scores = [asdict(candidate) for candidate in result.scores]
    details = {
        "selection": {"metric": result.metric, **asdict(result.best)},
        "members": members,
        "scores": scores,
        "experts": [{"perturbation": kind, **asdict(c)} for kind, c in result.experts],
    }
    _write_numbers(result, folder, controls, details)
    write_csv(folder / "grid.csv", [asdict(candidate) for candidate in result.grid])
    write_csv(folder / "members.csv", members)
    write_csv(folder / "scores.csv", scores)
    _write_report(folder, progress)
    return folder


def _write_numbers(
    result: EvaluatedModel, folder: Path, controls: Controls, details: Mapping[str, Any]
) -> None:
    save_model(result.model, folder / "model", name=str(folder))
    model = result.model
    results = {
        "run_metadata": dict(model.run_metadata),
        "protocol": asdict(result.protocol),
        "images": {split: dict(counts) for split, counts in result.images.items()},
        "threshold": {
            "value": model.threshold,
            "tpr": model.tpr,
            "tpr_interval": list(result.tpr_interval),
        },
        "head_method": model.head_method,
        "score_method": model.score_method,
        "temperature": model.temperature,
        "families": dict(model.hierarchy.families),
        "test": asdict(result.evaluation),
        "intervals": {name: asdict(interval) for name, interval in result.intervals.items()},
        "calibration": asdict(result.calibration),
        "hierarchy": [asdict(level) for level in result.hierarchy],
        "coverage": {"target": COVERAGE, **asdict(result.coverage)},
        "skipped": list(result.skipped),
        "notes": list(result.notes),
        "shortcut_check": asdict(controls.shortcuts) if controls.shortcuts else None,
        "shuffled_labels": asdict(controls.shuffle) if controls.shuffle else None,
        **details,
    }
    write_json(folder / "results.json", results)
    write_csv(folder / "unknown.csv", _unknown_rows(result))
    write_csv(folder / "predictions.csv", _prediction_rows(result))
    write_csv(folder / "embedding.csv", image_map_rows(result))
    (folder / "skipped.txt").unlink(missing_ok=True)
    if result.skipped:
        write_text(folder / "skipped.txt", "".join(f"{reason}\n" for reason in result.skipped))


def _unknown_rows(result: EvaluatedModel) -> list[Row]:
    """Return the metrics of each unknown generator and group of them as rates in [0, 1]."""
    evaluation = result.evaluation
    rows = [asdict(unknown) for unknown in (*evaluation.unknown, *evaluation.groups)]
    return [
        {"name": row.pop("name"), "images": row.pop("images"), **row.pop("detection"), **row}
        for row in rows
    ]


def _prediction_rows(result: EvaluatedModel) -> list[Row]:
    model = result.model
    tables = (result.known_table, result.unknown_table)
    grouped = any(sample.group for table in tables for sample in table.samples)

    def rows(predictions: Predictions, table: FeatureTable) -> list[Row]:
        decisions = decide(predictions.probabilities, predictions.scores, model.threshold)
        return [
            {
                "path": str(sample.path),
                "origin": sample.origin,
                **({"group": sample.group} if grouped else {}),
                "answer": UNKNOWN if index < 0 else model.origins[index],
                "score": score,
                **dict(zip((f"p({o})" for o in model.origins), p.tolist(), strict=True)),
            }
            for sample, index, score, p in zip(
                table.samples, decisions, predictions.scores, predictions.probabilities, strict=True
            )
        ]

    return rows(result.known, tables[0]) + rows(result.unknown, tables[1])


def _write_report(folder: Path, progress: Progress) -> None:
    run = read_run(folder)
    plots = run_plots(run)
    for plot in progress(plots, description="Plotting", total=len(plots)):
        save_png(plot.figure, folder / "plots" / f"{plot.name}.png")
    template = make_environment(autoescape=False).get_template("report.md.j2")
    write_text(folder / "report.md", template.render(run=run, results=run.results, plots=plots))
