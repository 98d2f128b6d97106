"""Write the folder of a run: model, results.json, CSV files, plots and report.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from whichgen.heads.methods import head_method
from whichgen.io.atomic import write_text
from whichgen.io.tables import Row, markdown_table, percent, write_csv
from whichgen.progress import Progress, no_progress
from whichgen.report.plots import fit_plots, test_plots
from whichgen.report.result_tables import (
    NO_CONTROLS,
    controls_json,
    controls_section,
    join_sections,
    plot_section,
    tested_sections,
    write_tested,
)
from whichgen.training.controls import Controls
from whichgen.training.fit_block import FitResult
from whichgen.training.fit_fusion import FusionCandidate, FusionResult


def write_fit(
    fit: FitResult,
    folder: Path,
    *,
    controls: Controls = NO_CONTROLS,
    progress: Progress = no_progress,
) -> Path:
    """Writes everything about a fit into ``folder``; the model first, so that it is never lost."""
    parameter = head_method(fit.model.head_method).parameter
    selection = {
        "metric": fit.metric,
        "block": fit.block,
        "parameter": parameter,
        "value": fit.model.hyperparameter,
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
    write_text(folder / "report.md", _fit_markdown(fit, parameter, plots, controls))
    return folder


def block_rows(fit: FitResult) -> list[Row]:
    """Each block's best hyperparameter with its validation and test metrics, in [0, 1]."""
    return [
        {
            "block": b.validation.block,
            head_method(fit.model.head_method).parameter: b.validation.value,
            **{f"val_{k}": getattr(b.validation, k) for k in ("accuracy", "auroc", "oscr")},
            **{f"test_{k}": getattr(b.test, k) for k in ("accuracy", "auroc", "oscr")},
        }
        for b in fit.blocks
    ]


def _fit_markdown(fit: FitResult, parameter: str, plots: list[str], controls: Controls) -> str:
    evaluation, model = fit.evaluation, fit.model
    part = tested_sections(fit)
    blocks = [
        {
            "block": b.validation.block,
            parameter: f"{b.validation.value:.3g}",
            "val AUROC": percent(b.validation.auroc),
            "val OSCR": percent(b.validation.oscr),
            "val accuracy": percent(b.validation.accuracy),
            "AUROC": percent(b.test.auroc),
            "OSCR": percent(b.test.oscr),
            "accuracy": percent(b.test.accuracy),
        }
        for b in fit.blocks
    ]
    return join_sections(
        [
            f"# {model.run_metadata['config'].get('data', 'Fit')}: {model.head_method} head",
            f"Protocol `{fit.protocol.name}`: {evaluation.known_images} known and "
            f"{evaluation.unknown_images} unknown test images. Chosen by validation "
            f"{fit.metric}: **block {fit.block}**, **{parameter} = {model.hyperparameter:.4g}**. "
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


def write_fusion(
    fusion: FusionResult,
    folder: Path,
    *,
    controls: Controls = NO_CONTROLS,
    progress: Progress = no_progress,
) -> Path:
    """Writes everything about a fusion into ``folder``; the model first."""
    plots = write_tested(
        fusion,
        folder,
        results={
            "selection": {"metric": fusion.metric, **asdict(fusion.best)},
            "members": [asdict(c) for c in fusion.members],
            "scores": [asdict(c) for c in fusion.scores],
            "experts": [{"perturbation": kind, **asdict(c)} for kind, c in fusion.experts],
            **controls_json(controls),
        },
        draw=lambda embedding: test_plots(fusion, embedding),
        progress=progress,
    )
    write_csv(folder / "grid.csv", [asdict(c) for c in fusion.grid])
    write_csv(folder / "members.csv", [asdict(c) for c in fusion.members])
    write_csv(folder / "scores.csv", [asdict(c) for c in fusion.scores])
    write_text(folder / "report.md", _fusion_markdown(fusion, plots, controls))
    return folder


def fusion_candidate_rows(candidates: Sequence[FusionCandidate], first: str) -> list[Row]:
    """Candidates in percent, named by their ``members`` or their ``score``."""
    return [
        {
            first: getattr(c, first),
            "C": f"{c.value:g}",
            "shrinkage": f"{c.shrinkage:g}",
            "val AUROC": percent(c.auroc),
            "val OSCR": percent(c.oscr),
            "val accuracy": percent(c.accuracy),
            "AUROC": percent(c.test_auroc),
            "OSCR": percent(c.test_oscr),
            "accuracy": percent(c.test_accuracy),
        }
        for c in candidates
    ]


def _experts_section(fusion: FusionResult) -> str:
    if not fusion.experts:
        return ""
    rows = [
        {"perturbation": kind or "none", **row}
        for (kind, _), row in zip(
            fusion.experts,
            fusion_candidate_rows([c for _, c in fusion.experts], "members"),
            strict=True,
        )
    ]
    kept = ("perturbation", "members", "val AUROC", "val OSCR", "val accuracy")
    return (
        "## Experts\n\nOne for each perturbation; a gate tells which an image met. Members, C, "
        "shrinkage and score were chosen on untouched images, the votes of each expert on "
        "validation images of its perturbation. The tables of members and of scores are of the "
        "expert of untouched images; `whichgen robustness` tests the model on perturbed ones.\n\n"
        + markdown_table([{name: row[name] for name in kept} for row in rows])
    )


def _fusion_markdown(fusion: FusionResult, plots: list[str], controls: Controls) -> str:
    evaluation, model, chosen = fusion.evaluation, fusion.model, fusion.best
    part = tested_sections(fusion)
    return join_sections(
        [
            f"# {model.run_metadata['config'].get('data', 'Fusion')}: fused views",
            f"Protocol `{fusion.protocol.name}`: {evaluation.known_images} known and "
            f"{evaluation.unknown_images} unknown test images. Chosen by validation "
            f"{fusion.metric}: **{chosen.members}**, **C = {chosen.value:g}**, shrinkage "
            f"**{chosen.shrinkage:g}**, open-set score "
            f"**{chosen.score}**. {part['threshold']}",
            part["notes"],
            part["skipped"],
            part["headline"],
            part["calibration"],
            part["unknown"],
            part["known"],
            part["synthetic"],
            part["hierarchy"],
            controls_section(controls, evaluation),
            _experts_section(fusion),
            "## Which members\n\nEach set at its best C and shrinkage, with the score max_logit. "
            f"The last three columns are test figures, which chose nothing.\n\n"
            f"{markdown_table(fusion_candidate_rows(fusion.members, 'members'))}",
            "## Which open-set score\n\nWith the chosen members, C and shrinkage; those that "
            "measure distances do so in the principal components of the standardized views.\n\n"
            f"{markdown_table(fusion_candidate_rows(fusion.scores, 'score'))}",
            plot_section(plots),
            part["record"],
        ]
    )
