"""``whichgen few-shot``: evaluate the enrollment of unknown generators from a few images."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from whichgen.cli.command import resumable_command
from whichgen.cli.console import say, show_progress, show_table
from whichgen.cli.shared_options import (
    EvaluationOptions,
    RunFolder,
    check_writable,
    join_values,
    parse_shots,
)
from whichgen.defaults import FEW_SHOT_SIZES


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
    title = f"{setup.dataset.name}: origins enrolled from a few images"
    show_table(rows, title=title, caption=note)
    say(f"Results: {folder} (fewshot.md, fewshot.json, plots/fewshot.png)")
