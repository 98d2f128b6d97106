"""Write the run folder: model, results.json, CSV files, skipped.txt, plots and report.md.

The model is written first, then the JSON and CSV files. The plots, ``report.md`` and the HTML page
(:mod:`whichgen.report.html_page`) are generated from the JSON and CSV files, so they all show the
same values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whichgen.constants import UNKNOWN
from whichgen.heads.method_registry import make_head_method
from whichgen.io.atomic_writes import write_text
from whichgen.io.result_files import Row, write_csv, write_json
from whichgen.models.saved_model import save_model
from whichgen.openset.threshold import decide
from whichgen.progress import Progress, no_progress
from whichgen.report.figures.run_plots import plot_run
from whichgen.report.figures.style import save_png
from whichgen.report.run_reader import read_run
from whichgen.report.templating import make_environment
from whichgen.report.tsne import compute_tsne_rows
from whichgen.training.finalize_model import COVERAGE, EvaluatedModel
from whichgen.training.fit_block import FitResult
from whichgen.training.fit_fusion import FusionResult
from whichgen.training.label_shuffle import ShuffleControl
from whichgen.training.shortcut_check import ShortcutReport


def write_run(
    result: FitResult | FusionResult,
    folder: Path,
    *,
    shortcuts: ShortcutReport | None = None,
    shuffle: ShuffleControl | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Write the model, metrics, plots and report of a run to ``folder``, and return ``folder``.

    Existing files with the same names are replaced, and an outdated ``skipped.txt`` is removed.

    Parameters
    ----------
    result
        Result of fitting a model on one block, or a fusion: model, metrics and predictions.
    folder
        The run folder, which is created if it does not exist.
    shortcuts
        Result of the shortcut check; ``None`` if the check is disabled.
    shuffle
        Result of the shuffled-label control; ``None`` if the control is disabled or failed.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Raises
    ------
    OSError
        A file can't be written.
    StoreError
        The features of the test images can't be read from the feature store.
    """
    model, skip_reasons = result.model, result.features.skipped
    save_model(model, folder / "model", name=str(folder))
    results: dict[str, Any] = {
        "run_metadata": model.run_metadata,
        "protocol": result.protocol,
        "images": result.features.image_counts,
        "threshold": {
            "value": model.threshold,
            "tpr": model.tpr,
            "tpr_interval": result.tpr_interval,
            "images": len(model.calibration.labels),
        },
        "head_method": model.head_method,
        "score_method": model.score_method,
        "temperature": model.temperature,
        "families": model.hierarchy.families if model.hierarchy else {},
        "test": result.evaluation,
        "intervals": result.intervals,
        "calibration": result.calibration,
        "hierarchy": result.hierarchy,
        "coverage": {"target": COVERAGE, **vars(result.coverage)},
        "skipped": skip_reasons,
        "notes": (*result.protocol.notes, *result.features.dataset.notes),
        "shortcut_check": shortcuts,
        "shuffled_labels": shuffle,
    }
    if isinstance(result, FitResult):
        selection = {
            "metric": result.metric,
            "block": result.block,
            "parameter": make_head_method(model.head_method).parameter,
            "value": model.hyperparameter,
        }
        results |= {"selection": selection, "blocks": result.blocks}
        results["notes"] += (result.note,) if result.note else ()
    else:
        results |= {
            "selection": {"metric": result.metric, **vars(result.best)},
            "members": result.members,
            "scores": result.scores,
            "experts": [{"perturbation": kind, **vars(expert)} for kind, expert in result.experts],
        }
    write_json(folder / "results.json", results)
    write_csv(folder / "grid.csv", list(map(vars, result.grid)))
    write_csv(folder / "predictions.csv", _tabulate_predictions(result))
    write_csv(folder / "embedding.csv", compute_tsne_rows(result))
    (folder / "skipped.txt").unlink(missing_ok=True)
    if skip_reasons:
        write_text(folder / "skipped.txt", "".join(f"{reason}\n" for reason in skip_reasons))
    run = read_run(folder)
    plots = plot_run(run)
    for plot in progress(plots, description="Plotting", total=len(plots)):
        save_png(plot.figure, folder / "plots" / f"{plot.name}.png")
    template = make_environment(autoescape=False).get_template("report.md.j2")
    write_text(folder / "report.md", template.render(run=run, results=run.results, plots=plots))
    return folder


def _tabulate_predictions(result: EvaluatedModel) -> list[Row]:
    """Return one row per test image for ``predictions.csv``.

    The column ``answer`` is the predicted known origin or ``unknown``; ``coarse_origin`` is the
    answer of the hierarchy (:mod:`whichgen.openset.hierarchy`).
    """
    model = result.model
    tables = result.features.select_test_tables(result.protocol)
    table_pairs = list(zip(tables, (result.known, result.unknown), strict=True))
    samples = [sample for table, _ in table_pairs for sample in table.samples]
    columns = [name for name in ("group", "source") if any(getattr(s, name) for s in samples)]
    names = [*model.origins, UNKNOWN]  # the decision -1 selects the last name
    coarse_origins = iter(result.answers)
    return [
        {
            "path": str(sample.path),
            "origin": sample.origin,
            **{name: getattr(sample, name) for name in columns},
            "answer": names[decision],
            "coarse_origin": next(coarse_origins),
            "score": score,
            **dict(zip((f"p({o})" for o in model.origins), probabilities.tolist(), strict=True)),
        }
        for table, predictions in table_pairs
        for sample, decision, score, probabilities in zip(
            table.samples,
            decide(predictions.probabilities, predictions.scores, model.threshold),
            predictions.scores,
            predictions.probabilities,
            strict=True,
        )
    ]
