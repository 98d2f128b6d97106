"""Result tables that several commands print."""

from __future__ import annotations

from collections.abc import Mapping

from whichgen.cli.console import show_table
from whichgen.evaluation.all_metrics import Evaluation
from whichgen.evaluation.bootstrap import Interval
from whichgen.report.result_tables import headline_rows, unknown_generator_rows


def show_evaluation(
    evaluation: Evaluation, title: str, intervals: Mapping[str, Interval] | None = None
) -> None:
    """Print the headline figures, then the figures per unknown generator."""
    show_table(headline_rows(evaluation, intervals), title=title)
    columns = ("unknown", "images", "AUROC", "OSCR", "rejected", "nearest known origin", "share")
    rows = unknown_generator_rows(evaluation)
    show_table([{c: row[c] for c in columns} for row in rows], title="Unknown generators (%)")
