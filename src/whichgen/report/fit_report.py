"""The folder of a fit: model, ``results.json``, ``report.md``, tables and plots."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from whichgen.atomic import write_text
from whichgen.attribution.model import save_model
from whichgen.data.duplicates import Track, untracked
from whichgen.evaluation.evaluate import Answers, Evaluation, UnknownResult
from whichgen.experiments.fit import Fit
from whichgen.features.extract import FeatureTable
from whichgen.heads.families import family_of
from whichgen.openset.threshold import UNKNOWN, decide
from whichgen.report.plots import fit_plots, save_figure
from whichgen.report.tables import Row, markdown_table, percent, write_csv


def write_fit(fit: Fit, folder: Path, *, track: Track = untracked) -> Path:
    """Writes everything about a fit into ``folder``; the model first, so that it is never lost."""
    parameter = family_of(fit.model.family).parameter
    save_model(fit.model, folder / "model")
    write_text(folder / "results.json", to_json(_results(fit)))
    write_csv(folder / "grid.csv", [asdict(candidate) for candidate in fit.grid])
    write_csv(folder / "blocks.csv", block_rows(fit))
    write_csv(folder / "unknown.csv", [unknown_row(r, digits=False) for r in _all_unknown(fit)])
    write_csv(folder / "predictions.csv", _predictions(fit))
    (folder / "skipped.txt").unlink(missing_ok=True)
    if fit.skipped:
        write_text(folder / "skipped.txt", "".join(f"{reason}\n" for reason in fit.skipped))
    plots = fit_plots(fit, parameter)
    for name, figure in track(plots.items(), description="Plotting", total=len(plots)):
        save_figure(figure, folder / "plots" / f"{name}.png")
    write_text(folder / "report.md", _markdown(fit, parameter, sorted(plots)))
    return folder


def to_json(value: Any) -> str:
    """JSON text; a value that is no number in JSON (NaN) is null."""

    def clean(v: Any) -> Any:
        if isinstance(v, float) and not math.isfinite(v):
            return None
        if isinstance(v, dict):
            return {k: clean(x) for k, x in v.items()}
        if isinstance(v, list | tuple):
            return [clean(x) for x in v]
        return v

    return json.dumps(clean(value), indent=1, allow_nan=False) + "\n"


def headline_rows(evaluation: Evaluation) -> list[Row]:
    """The headline figures, in percent, one a row."""
    closed, found = evaluation.closed, evaluation.detection
    figures: list[tuple[str, float | None]] = [
        ("Closed-set accuracy", closed.accuracy),
        ("Macro F1", closed.macro_f1),
        ("Macro recall", closed.macro_recall),
        ("AUROC, known against unknown", found.auroc if found else None),
        ("OSCR", evaluation.oscr),
        ("TNR at 95 % TPR", found.tnr_at_tpr95 if found else None),
        ("Detection accuracy", found.detection_accuracy if found else None),
        ("AUIN", found.auin if found else None),
        ("AUOUT", found.auout if found else None),
        ("Known images kept at the threshold", evaluation.known_accepted),
        ("Unknown images rejected at the threshold", evaluation.unknown_rejected),
        ("Right answers among all images", evaluation.open_accuracy),
    ]
    return [{"metric": name, "%": percent(value)} for name, value in figures]


def unknown_row(result: UnknownResult, *, digits: bool = True) -> Row:
    """One unknown generator's figures: formatted in percent, or as rates in [0, 1]."""
    rates: dict[str, float] = {
        "AUROC": result.detection.auroc,
        "OSCR": result.oscr,
        "TNR@TPR95": result.detection.tnr_at_tpr95,
        "detection accuracy": result.detection.detection_accuracy,
        "AUIN": result.detection.auin,
        "AUOUT": result.detection.auout,
        "rejected": result.rejected,
        "mean score": result.mean_score,
    }
    shown = {k: percent(v) for k, v in rates.items()} if digits else rates
    taken = {"mostly taken for": result.taken_for, "share": result.taken_for_share}
    if digits:
        taken["share"] = percent(result.taken_for_share)
    return {"unknown": result.name, "images": result.images, **shown, **taken}


def block_rows(fit: Fit) -> list[Row]:
    """Each block's best hyperparameter with its validation and test metrics, in [0, 1]."""
    return [
        {
            "block": b.chosen.block,
            family_of(fit.model.family).parameter: b.chosen.value,
            **{f"val_{k}": getattr(b.chosen, k) for k in ("accuracy", "auroc", "oscr")},
            **{f"test_{k}": getattr(b.test, k) for k in ("accuracy", "auroc", "oscr")},
        }
        for b in fit.blocks
    ]


def _all_unknown(fit: Fit) -> Sequence[UnknownResult]:
    return (*fit.evaluation.unknown, *fit.evaluation.groups)


def _results(fit: Fit) -> dict[str, Any]:
    return {
        "provenance": dict(fit.model.provenance),
        "protocol": asdict(fit.protocol),
        "selection": {
            "metric": fit.metric,
            "block": fit.block,
            "parameter": family_of(fit.model.family).parameter,
            "value": fit.model.value,
        },
        "threshold": {"value": fit.model.threshold, "tpr": fit.model.tpr},
        "test": asdict(fit.evaluation),
        "blocks": [dict(row) for row in block_rows(fit)],
        "skipped": list(fit.skipped),
        "notes": list(fit.notes),
    }


def _predictions(fit: Fit) -> list[Row]:
    def rows(answers: Answers, table: FeatureTable) -> list[Row]:
        decided = decide(answers.probabilities, answers.scores, fit.model.threshold)
        return [
            {
                "path": str(sample.path),
                "origin": sample.origin,
                "answer": UNKNOWN if index < 0 else fit.model.origins[index],
                "score": score,
                **dict(zip((f"p({o})" for o in fit.model.origins), p.tolist(), strict=True)),
            }
            for sample, index, score, p in zip(
                table.samples, decided, answers.scores, answers.probabilities, strict=True
            )
        ]

    return rows(fit.known, fit.known_table) + rows(fit.unknown, fit.unknown_table)


def _markdown(fit: Fit, parameter: str, plots: Sequence[str]) -> str:
    evaluation, model = fit.evaluation, fit.model
    recalls = [
        {"origin": origin, "images": sum(row), "recall %": percent(recall)}
        for origin, row, recall in zip(
            model.origins, evaluation.closed.confusion, evaluation.closed.recall, strict=True
        )
    ]
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
    record = model.provenance
    unknown = markdown_table([unknown_row(r) for r in _all_unknown(fit)])
    sections = [
        f"# {record['config'].get('data', 'Fit')}: {model.family} head",
        f"Protocol `{fit.protocol.name}`: {evaluation.known_images} known and "
        f"{evaluation.unknown_images} unknown test images. Chosen by validation {fit.metric}: "
        f"**block {fit.block}**, **{parameter} = {model.value:.4g}**. Answers with a score below "
        f"{model.threshold:.6g} are `{UNKNOWN}` (keeps {100 * model.tpr:g} % of known validation "
        "images).",
        "\n>\n".join(f"> {note}" for note in fit.notes),
        markdown_table(headline_rows(evaluation)),
        f"## Unknown generators\n\n{unknown}" if unknown else "No unknown test images.",
        f"## Known origins\n\n{markdown_table(recalls)}",
        f"## Blocks\n\nThe last three columns are test figures, which chose nothing.\n\n"
        f"{markdown_table(blocks)}",
        "## Plots\n\n" + "\n\n".join(f"![{name}](plots/{name}.png)" for name in plots),
        f"## Made by\n\nwhichgen {record['whichgen']}, {record['time']}, encoder "
        f"`{model.encoder['name']}` (weights `{model.encoder['weights_hash']}`), data "
        f"`{model.data_hash}`, seeds {record['seeds']}. The whole record is in `results.json`.",
    ]
    if fit.skipped:
        sections.insert(3, f"**{len(fit.skipped)} files were not readable**: see `skipped.txt`.")
    return "\n\n".join(section.strip() for section in sections if section) + "\n"
