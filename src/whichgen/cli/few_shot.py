"""``whichgen few-shot``: how well a new origin is learned from few images."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from whichgen.cli.command import command
from whichgen.cli.console import progress, say, show_table
from whichgen.cli.options import (
    ModelOptions,
    RunFolder,
    TestData,
    check_writable,
    open_store,
    parse_shots,
)


@command
def few_shot(
    model: ModelOptions,
    test: TestData,
    shots: Annotated[
        str, Option(help="Numbers of images to enroll: N,N,…", show_default="1,2,5,10,20,50")
    ] = "",
    repeats: Annotated[int, Option(min=1, help="Random draws per number of images.")] = 3,
    output_dir: RunFolder = None,
) -> None:
    """Enroll each unknown test generator from few images and test the result."""
    from whichgen.experiments.few_shot import IMAGE_COUNTS, measure_few_shot
    from whichgen.io.run_metadata import collect_run_metadata
    from whichgen.report.experiment_reports import few_shot_rows, write_few_shot
    from whichgen.training.split_features import extract_splits

    numbers = parse_shots(shots) or list(IMAGE_COUNTS)
    folder = check_writable(output_dir or model.run_folder())
    attributor = model.load()
    source = test.dataset_options(attributor.model)
    dataset = source.open(test.cache_dir, progress=progress)
    features = extract_splits(
        dataset,
        attributor.encoder,
        open_store(test.cache_dir, attributor.encoder),
        splits=("test", "val_unknown", "test_unknown"),
        progress=progress,
    )
    points = list(
        measure_few_shot(
            attributor.model,
            features,
            image_counts=numbers,
            seeds=range(repeats),
            progress=progress,
        )
    )
    record = collect_run_metadata(
        {**source.as_config(), "shots": numbers, "model": str(model.path.resolve())},
        seeds={"seed": source.seed, "draws": repeats},
        encoder=attributor.encoder.describe(),
        data_hash=features.data_hash,
    )
    write_few_shot(points, record, folder)
    show_table(few_shot_rows(points), title=f"{dataset.name}: origins enrolled from few images")
    say(f"Results: {folder} (fewshot.md, fewshot.json, plots/fewshot.png)")
