"""The folder of a fit on single blocks: what every tested model has, and the sweep's tables."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from whichgen.heads.methods import head_method
from whichgen.io.atomic import write_text
from whichgen.progress import Progress, no_progress
from whichgen.report.controls_report import NO_CONTROLS, controls_json, controls_section
from whichgen.report.plots import fit_plots
from whichgen.report.tables import Row, markdown_table, percent, write_csv
from whichgen.report.tested_report import (
    join_sections,
    plot_section,
    tested_sections,
    write_tested,
)
from whichgen.training.controls import Controls
from whichgen.training.fit_block import Fit


def write_fit(
    fit: Fit, folder: Path, *, controls: Controls = NO_CONTROLS, progress: Progress = no_progress
) -> Path:
    """Writes everything about a fit into ``folder``; the model first, so that it is never lost."""
    parameter = head_method(fit.model.head_method).parameter
    selection = {
        "metric": fit.metric,
        "block": fit.block,
        "parameter": parameter,
        "value": fit.model.value,
    }
    blocks = [dict(row) for row in block_rows(fit)]
    plots = write_tested(
        fit,
        folder,
        results={"selection": selection, "blocks": blocks, **controls_json(controls)},
        draw=lambda embedding: fit_plots(fit, parameter, embedding),
        progress=progress,
    )
    write_csv(folder / "grid.csv", [asdict(candidate) for candidate in fit.grid])
    write_csv(folder / "blocks.csv", block_rows(fit))
    write_text(folder / "report.md", _markdown(fit, parameter, plots, controls))
    return folder


def block_rows(fit: Fit) -> list[Row]:
    """Each block's best hyperparameter with its validation and test metrics, in [0, 1]."""
    return [
        {
            "block": b.chosen.block,
            head_method(fit.model.head_method).parameter: b.chosen.value,
            **{f"val_{k}": getattr(b.chosen, k) for k in ("accuracy", "auroc", "oscr")},
            **{f"test_{k}": getattr(b.test, k) for k in ("accuracy", "auroc", "oscr")},
        }
        for b in fit.blocks
    ]


def _markdown(fit: Fit, parameter: str, plots: list[str], controls: Controls) -> str:
    evaluation, model = fit.evaluation, fit.model
    part = tested_sections(fit)
    blocks = [
        {
            "block": b.chosen.block,
            parameter: f"{b.chosen.value:.3g}",
            "val AUROC": percent(b.chosen.auroc),
            "val OSCR": percent(b.chosen.oscr),
            "val accuracy": percent(b.chosen.accuracy),
            "AUROC": percent(b.test.auroc),
            "OSCR": percent(b.test.oscr),
            "accuracy": percent(b.test.accuracy),
        }
        for b in fit.blocks
    ]
    return join_sections(
        [
            f"# {model.provenance['config'].get('data', 'Fit')}: {model.head_method} head",
            f"Protocol `{fit.protocol.name}`: {evaluation.known_images} known and "
            f"{evaluation.unknown_images} unknown test images. Chosen by validation "
            f"{fit.metric}: **block {fit.block}**, **{parameter} = {model.value:.4g}**. "
            f"{part['threshold']}",
            part["notes"],
            part["skipped"],
            part["headline"],
            part["calibration"],
            part["unknown"],
            part["known"],
            part["synthetic"],
            part["hierarchy"],
            controls_section(controls, evaluation),
            "## Blocks\n\nThe last three columns are test figures, which chose nothing.\n\n"
            f"{markdown_table(blocks)}",
            plot_section(plots),
            part["record"],
        ]
    )
