"""Print the results of a run or of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping

from whichgen.cli.console import say, show_table, warn
from whichgen.evaluation.bootstrap import Interval
from whichgen.evaluation.evaluate_predictions import Evaluation
from whichgen.report.result_tables import (
    describe_intervals,
    tabulate_fusion_candidates,
    tabulate_metrics,
    tabulate_unknown_generators,
)
from whichgen.report.run_reader import Run
from whichgen.report.run_warnings import list_warnings


def show_run(run: Run, dataset: str) -> None:
    """Print the fusion candidates, test metrics, notes on the protocol and warnings of a run.

    ``dataset`` is the name of the dataset; it is printed above the test metrics.
    """
    results = run.results
    selection = results.selection
    selected_settings = {"members": selection.members, "score": results.score_method}
    for column, candidates in (("members", results.members), ("score", results.scores)):
        rows = tabulate_fusion_candidates(candidates, column)
        columns = (column, "val OSCR", "test accuracy", "test AUROC", "test OSCR")
        title = f"Candidate {column.rstrip('s')}s (%); → marks the selected one"
        marks = ["→" if row[column] == selected_settings[column] else "" for row in rows]
        table = [{"": m} | {c: row[c] for c in columns} for m, row in zip(marks, rows, strict=True)]
        show_table(table, title=title)
    if results.members:
        head = f"fusion of {selection.members}, shrinkage = {selection.shrinkage:g}"
    else:
        head = f"{results.head_method} on block {selection.block}"
    head += f", {selection.parameter} = {selection.value:.4g}, score {results.score_method}"
    show_evaluation(results.test, f"{dataset}: {head}", results.intervals, run.known.unit_name)
    messages = list_warnings(run)
    for note in results.protocol.notes:
        if note not in messages:
            say(f"note: {note}")
    for message in messages:
        warn(message)


def show_evaluation(
    evaluation: Evaluation, title: str, intervals: Mapping[str, Interval], unit: str
) -> None:
    """Print the headline metrics, the answer metrics and the metrics per unknown generator.

    Parameters
    ----------
    evaluation
        The metrics.
    title
        Text above the table of the headline and answer metrics.
    intervals
        ``intervals[metric]`` is the confidence interval of a metric, if available.
    unit
        Resampling unit of the intervals: ``sources``, ``groups of images`` or ``images``.
    """
    caption = ""
    if overlap := evaluation.source_overlap:
        title += f", {overlap.title}"
        caption = f"{overlap.note}\n{describe_intervals(evaluation, unit)}"
    show_table(tabulate_metrics(evaluation, intervals), title=title, caption=caption)
    columns = ("unknown", "images", "AUROC", "OSCR", "rejected", "nearest known origin", "share")
    rows = tabulate_unknown_generators(evaluation)
    show_table([{c: row[c] for c in columns} for row in rows], title="Unknown generators (%)")
