"""``whichgen evaluate`` and ``whichgen robustness``: test a saved model."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from whichgen.cli.command import command
from whichgen.cli.console import progress, say, show_table, warn_skipped
from whichgen.cli.options import (
    ModelOptions,
    RunFolder,
    TestData,
    check_writable,
    open_store,
    parse_kinds,
)
from whichgen.cli.results import show_evaluation


@command
def evaluate(model: ModelOptions, test: TestData) -> None:
    """Test a model on its own test split or on another dataset."""
    from whichgen.experiments.robustness import evaluate_perturbation

    attributor = model.load()
    dataset = test.dataset_options(attributor.model).open(test.cache_dir, progress=progress)
    store = open_store(test.cache_dir, attributor.encoder)
    point = evaluate_perturbation(
        attributor.model, dataset, attributor.encoder, store, progress=progress
    )
    warn_skipped(point.skipped)
    show_evaluation(point.evaluation, f"{dataset.name}: test split")


@command
def robustness(
    model: ModelOptions,
    test: TestData,
    kinds: Annotated[
        str, Option(help="Perturbations: jpeg,blur,crop,resize,social or all.")
    ] = "all",
    output_dir: RunFolder = None,
) -> None:
    """Test a model on perturbed images: JPEG, blur, crop, resize, social media."""
    from whichgen.experiments.robustness import evaluate_robustness as run_robustness
    from whichgen.io.run_metadata import collect_run_metadata
    from whichgen.report.experiment_reports import robustness_rows, write_robustness

    perturbations = parse_kinds(kinds)
    folder = check_writable(output_dir or model.run_folder())
    attributor = model.load()
    source = test.dataset_options(attributor.model)
    dataset = source.open(test.cache_dir, progress=progress)
    store = open_store(test.cache_dir, attributor.encoder)
    points = list(
        run_robustness(
            attributor.model,
            dataset,
            attributor.encoder,
            store,
            kinds=perturbations,
            progress=progress,
        )
    )
    record = collect_run_metadata(
        {
            **source.as_config(),
            "kinds": list(perturbations),
            "model": str(model.path.resolve()),
            "model_data_hash": attributor.model.data_hash,
        },
        seeds={"seed": source.seed},
        encoder=attributor.encoder.describe(),
        data_hash=points[0].data_hash,
    )
    warn_skipped(points[0].skipped)
    write_robustness(points, record, folder)
    show_table(robustness_rows(points), title=f"{dataset.name}: perturbed test images (%)")
    say(f"Results: {folder} (robustness.md, robustness.json, plots/robustness.png)")
