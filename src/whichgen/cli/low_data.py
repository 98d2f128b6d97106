"""``whichgen low-data``: accuracy as a function of training images per class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Option

from whichgen.cli.command import command
from whichgen.cli.console import progress, say, show_table
from whichgen.cli.options import parse_shots
from whichgen.cli.training_options import TrainOptions

if TYPE_CHECKING:
    from whichgen.training.fit_block import FitOptions
    from whichgen.training.fit_fusion import FusionOptions


@command
def low_data(
    options: TrainOptions,
    head: Annotated[str, Option(help="linear, knn or fusion.")] = "linear",
    shots: Annotated[
        str, Option(help="Training images per class: N,N,…", show_default="1,2,5,10,20 and so on")
    ] = "",
    repeats: Annotated[int, Option(min=1, help="Random draws per number of images.")] = 5,
) -> None:
    """Train on few images per class, over several random draws."""
    from whichgen.cli.training import add_traces, fit_options, fusion_options, prepare_training
    from whichgen.experiments.low_data import SAMPLES_PER_CLASS
    from whichgen.experiments.low_data import low_data as run_low_data
    from whichgen.heads.methods import sweep_method
    from whichgen.io.run_metadata import collect_run_metadata
    from whichgen.report.experiment_reports import low_data_rows, write_low_data

    numbers = parse_shots(shots) or list(SAMPLES_PER_CLASS)
    library_options: FitOptions | FusionOptions
    if head == "fusion":
        options = add_traces(options)
        library_options = fusion_options(options)
    else:
        library_options = fit_options(options, sweep_method(head))
    data = prepare_training(options, library_options, "low-data")
    points = list(
        run_low_data(
            data.features,
            data.encoder,
            library_options,
            samples_per_class=numbers,
            seeds=range(repeats),
            cache=options.cache_dir / "sweeps",
            progress=progress,
        )
    )
    record = collect_run_metadata(
        {**data.config, "shots": numbers},
        seeds={"seed": library_options.seed, "draws": repeats},
        encoder=data.encoder.describe(),
        data_hash=data.features.data_hash,
    )
    write_low_data(points, record, data.folder)
    show_table(low_data_rows(points), title=f"{data.dataset.name}: {head} head, images per class")
    say(f"Results: {data.folder}")
