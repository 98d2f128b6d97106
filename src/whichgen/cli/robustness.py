"""``whichgen robustness``: evaluate a model on perturbed images."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from whichgen.cli.command import resumable_command
from whichgen.cli.console import say, show_progress, show_table, warn_skipped
from whichgen.cli.shared_options import (
    EvaluationOptions,
    RunFolder,
    check_writable,
    parse_kinds,
)


@resumable_command
def robustness(
    options: EvaluationOptions,
    kinds: Annotated[
        str, Option(help="Perturbations: jpeg,blur,crop,resize,social or all.")
    ] = "all",
    output_dir: RunFolder = None,
) -> None:
    """Evaluate a model on perturbed images: JPEG, blur, crop, resize, social media."""
    from whichgen.cli.evaluation_setup import prepare_evaluation
    from whichgen.experiments.robustness import evaluate_robustness
    from whichgen.report.experiment_reports import write_robustness
    from whichgen.report.figures.experiment_curves import tabulate_robustness

    perturbations = parse_kinds(kinds)
    folder = check_writable(output_dir or options.model.find_run_folder())
    setup = prepare_evaluation(options)
    points = list(
        evaluate_robustness(
            setup.model,
            setup.dataset,
            setup.encoder,
            setup.store,
            kinds=perturbations,
            batch_size=options.model.batch_size,
            progress=show_progress,
        )
    )
    warn_skipped(points[0].skipped)
    config = {**setup.data_options.as_config(), "kinds": list(perturbations)}
    seeds = {"seed": setup.data_options.seed}
    record = options.model.describe_run(setup.model, seeds, points[0].data_hash, **config)
    write_robustness(points, record, folder)
    overlap = points[0].test.source_overlap
    show_table(
        tabulate_robustness(points),
        title=f"{setup.dataset.name}: perturbed test images (%)",
        caption=overlap.note if overlap else "",
    )
    say(f"Results: {folder} (robustness.md, robustness.json, plots/robustness.png)")
