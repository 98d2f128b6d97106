"""``whichgen low-data``: evaluate models trained on different numbers of images per class."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from typer import Option

from whichgen.cli.command import resumable_command
from whichgen.cli.console import say, show_progress, show_table
from whichgen.cli.shared_options import (
    join_values,
    parse_shots,
)
from whichgen.cli.training_options import TrainOptions
from whichgen.defaults import LOW_DATA_SIZES


@resumable_command
def low_data(
    options: TrainOptions,
    head: Annotated[Literal["linear", "knn", "fusion"], Option(help="Classifier head.")] = "linear",
    shots: Annotated[
        str,
        Option(
            help="Numbers of training images per class: N,N,…", show_default="1,2,5,10 up to 4000"
        ),
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
