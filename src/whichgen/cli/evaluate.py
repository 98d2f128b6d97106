"""``whichgen evaluate``: evaluate a model on its own test split or on another dataset."""

from __future__ import annotations

from whichgen.cli.command import resumable_command
from whichgen.cli.console import show_progress, warn_skipped
from whichgen.cli.shared_options import (
    EvaluationOptions,
)


@resumable_command
def evaluate(options: EvaluationOptions) -> None:
    """Evaluate a model on its own test split or on another dataset."""
    from whichgen.cli.evaluation_setup import prepare_evaluation
    from whichgen.cli.run_output import show_evaluation
    from whichgen.experiments.robustness import evaluate_perturbation

    setup = prepare_evaluation(options)
    point = evaluate_perturbation(
        setup.model,
        setup.dataset,
        setup.encoder,
        setup.store,
        intervals=True,
        batch_size=options.model.batch_size,
        progress=show_progress,
    )
    warn_skipped(point.skipped)
    show_evaluation(point.test, f"{setup.dataset.name}: test split", point.intervals, point.unit)
