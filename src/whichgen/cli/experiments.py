"""Evaluation commands: ``whichgen evaluate``, ``robustness``, ``few-shot`` and ``low-data``."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from typer import Option

from whichgen.cli.command import resumable_command
from whichgen.cli.console import say, show_progress, show_table, warn_skipped
from whichgen.cli.shared_options import (
    EvaluationOptions,
    RunFolder,
    check_writable,
    join_values,
    parse_kinds,
    parse_shots,
)
from whichgen.cli.training_options import TrainOptions
from whichgen.defaults import FEW_SHOT_SIZES, LOW_DATA_SIZES


@resumable_command
def evaluate(options: EvaluationOptions) -> None:
    """Evaluate a model on its own test split or on another dataset."""
    from whichgen.cli.evaluation_setup import prepare_evaluation
    from whichgen.cli.result_output import show_evaluation
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


@resumable_command
def few_shot(
    options: EvaluationOptions,
    shots: Annotated[str, Option(help="Numbers of images to enroll: N,N,…")] = join_values(
        FEW_SHOT_SIZES
    ),
    repeats: Annotated[
        int, Option(min=1, help="Number of random draws for each number of images.")
    ] = 3,
    output_dir: RunFolder = None,
) -> None:
    """Enroll each unknown generator in turn from a few images, and evaluate the new model."""
    from whichgen.cli.evaluation_setup import prepare_evaluation
    from whichgen.experiments.few_shot import (
        describe_few_shot_sources,
        list_draws,
        measure_few_shot,
    )
    from whichgen.report.experiment_reports import write_experiment
    from whichgen.report.figures.experiment_curves import plot_few_shot
    from whichgen.training.split_features import extract_splits

    image_counts = parse_shots(shots)
    folder = check_writable(output_dir or options.model.find_run_folder())
    setup = prepare_evaluation(options)
    unknown_images = (*setup.dataset.val_unknown, *setup.dataset.test_unknown)
    # Raise an error about too few images before the images are encoded.
    list_draws(unknown_images, image_counts, range(repeats))
    splits = ("test", "val_unknown", "test_unknown")
    features = extract_splits(
        setup.dataset,
        setup.encoder,
        setup.store,
        splits=splits,
        batch_size=options.model.batch_size,
        progress=show_progress,
    )
    points = list(
        measure_few_shot(
            setup.model,
            features,
            image_counts=image_counts,
            seeds=range(repeats),
            progress=show_progress,
        )
    )
    config = {**setup.data_options.as_config(), "shots": image_counts}
    seeds = {"seed": setup.data_options.seed, "draws": repeats}
    record = options.model.describe_run(setup.model, seeds, features.data_hash, **config)
    plot, note = plot_few_shot(points), describe_few_shot_sources(features)
    write_experiment(plot, points, record, folder, note=note)
    rows = [{c: row[c] for c in row if c != "generators"} for row in plot.rows]  # to fit 80 columns
    title = f"{setup.dataset.name}: origins enrolled from few images"
    show_table(rows, title=title, caption=note)
    say(f"Results: {folder} (fewshot.md, fewshot.json, plots/fewshot.png)")


@resumable_command
def low_data(
    options: TrainOptions,
    head: Annotated[Literal["linear", "knn", "fusion"], Option(help="Classifier head.")] = "linear",
    shots: Annotated[
        str, Option(help="Training images per class: N,N,…", show_default="1,2,5,10 up to 4000")
    ] = join_values(LOW_DATA_SIZES),
    repeats: Annotated[
        int, Option(min=1, help="Number of random draws for each number of images.")
    ] = 5,
) -> None:
    """Evaluate models trained on different numbers of images per class, drawn at random."""
    from whichgen.cli.training_run import add_traces, build_fit_options, prepare_training
    from whichgen.experiments.low_data import (
        check_low_data_method,
        describe_low_data_sources,
        measure_low_data,
    )
    from whichgen.heads.method_registry import SWEEP_METHODS
    from whichgen.io.run_metadata import collect_run_metadata
    from whichgen.report.experiment_reports import write_experiment
    from whichgen.report.figures.experiment_curves import plot_low_data

    image_counts = parse_shots(shots)
    if head == "fusion":
        options = add_traces(options)
    method = None if head == "fusion" else SWEEP_METHODS[head]()
    library_options = build_fit_options(options, method)
    check_low_data_method(library_options, has_sources=bool(options.split.sources))
    # force=True is safe: low-data files have different names from the files of a training run.
    data = prepare_training(replace(options, force=True), library_options, "low-data")
    points = list(
        measure_low_data(
            data.features,
            data.encoder,
            library_options,
            samples_per_class=image_counts,
            seeds=range(repeats),
            cache=options.cache_dir / "sweeps",
            progress=show_progress,
        )
    )
    record = collect_run_metadata(
        {**data.config, "shots": image_counts},
        seeds={"seed": library_options.seed, "draws": repeats},
        encoder=data.encoder.describe(),
        data_hash=data.features.data_hash,
    )
    plot, note = plot_low_data(points), describe_low_data_sources(data.features, library_options)
    write_experiment(plot, points, record, data.folder, note=note)
    title = f"{data.features.dataset.name}: {head} head by number of training images"
    show_table(plot.rows, title=title, caption=note)
    say(f"Results: {data.folder} (lowdata.md, lowdata.json, plots/lowdata.png)")
