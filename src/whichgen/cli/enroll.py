"""``whichgen enroll`` and ``whichgen fewshot``: a new origin from a few images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whichgen.cli.attribute import find_images
from whichgen.cli.console import guarded, progress, say, show_table, warn
from whichgen.cli.options import (
    CACHE,
    BatchSize,
    CacheFolder,
    Device,
    GroupColumn,
    Groups,
    Unknown,
    UnknownVal,
    names,
    open_store,
    writable,
)
from whichgen.cli.robustness import Backbone, Data, ModelFolder, source_of
from whichgen.errors import DataError

#: More images than that are enough to fit anew.
_MANY = 50


@guarded
def enroll(
    model: ModelFolder,
    name: Annotated[str, typer.Argument(help="The new origin.")],
    images: Annotated[
        list[Path], typer.Argument(help="Image files of it, folders, or lists: @FILE.")
    ],
    output_dir: Annotated[
        Path | None,
        typer.Option("-o", "--output_dir", help="The new model's folder (default: MODEL+NAME)."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a model that is there.")
    ] = False,
    backbone: Backbone = "",
    device: Device = "auto",
    batch_size: BatchSize = 32,
) -> None:
    """Teach a model a new generator from 1 to 50 images, without fitting it anew."""
    from whichgen.data.reading import read_bytes
    from whichgen.inference.attributor import Attributor
    from whichgen.inference.enroll import enroll_images
    from whichgen.models.card import save_with_card
    from whichgen.models.saved_model import DESCRIPTION_FILE, find_model

    found = find_model(model)
    run_folder = found.parent if found.name == "model" else found
    if not output_dir and Path(name).name != name:
        raise DataError(f"{name!r} can't be part of a folder's name; name the folder with -o.")
    folder = output_dir or run_folder.with_name(f"{run_folder.name}+{name}")
    if (folder / "model" / DESCRIPTION_FILE).is_file() and not force:
        raise DataError(f"{folder} holds a model. Choose another folder with -o, or add --force.")
    writable(folder)
    files = find_images(images)
    attributor = Attributor.load(model, device=device, backbone=backbone)
    result = enroll_images(
        attributor,
        name,
        {str(file): read_bytes(file) for file in files},
        batch_size=batch_size,
        progress=progress,
    )
    if result.images < len(files):
        warn(f"{len(files) - result.images} images are there twice and count once.")
    save_with_card(result.model, folder)
    before, after = (f"{100 * share:.1f}" for share in result.old_accuracy)
    old, new = (f"{threshold:.6g}" for threshold in result.threshold)
    recognized = result.recognized
    show_table(
        [
            {"%": "old origins right", "before": before, "after": after},
            {
                "%": "new images right",
                "before": "",
                "after": "–" if recognized is None else f"{100 * recognized:.1f}",
            },
            {"%": "threshold (score)", "before": old, "after": new},
        ],
        title=f"{name} enrolled from {result.images} images. Old origins: held-out exemplars; new "
        "images: each asked of a model enrolled from others",
    )
    counts = ", ".join(f"{origin} {n}" for origin, n in result.answered.items())
    say(f"The model without {name} answered: {counts}.")
    if result.images > _MANY:
        warn(f"note: {result.images} images are enough to fit a model anew; it will be better.")
    say(f"The new model is in {folder}; the old one is as it was.")


@guarded
def fewshot(
    model: ModelFolder,
    data: Data = "",
    unknown: Unknown = "",
    unknown_val: UnknownVal = "",
    groups: Groups = "",
    group_column: GroupColumn = "",
    shots: Annotated[
        str, typer.Option(help="Images of the new generator: N,N,…")
    ] = "1,2,5,10,20,50",
    seeds: Annotated[int, typer.Option(min=1, help="Draws for each number of images.")] = 3,
    output_dir: Annotated[
        Path | None, typer.Option("-o", "--output_dir", help="Default: the run's folder.")
    ] = None,
    backbone: Backbone = "",
    device: Device = "auto",
    cache: CacheFolder = CACHE,
) -> None:
    """Enrol each unknown generator of a test from few images, and test the new model."""
    from whichgen.experiments.few_shot import few_shots
    from whichgen.inference.attributor import Attributor
    from whichgen.io.run_metadata import provenance
    from whichgen.models.saved_model import find_model
    from whichgen.report.experiment_reports import few_shot_rows, write_few_shot
    from whichgen.training.split_features import extract_parts

    try:
        numbers = sorted({int(n) for n in names(shots)})
    except ValueError:
        raise DataError(f"--shots {shots!r}: expected whole numbers, as in 1,5,10.") from None
    found = find_model(model)
    folder = writable(output_dir or (found.parent if found.name == "model" else found))
    attributor = Attributor.load(model, device=device, backbone=backbone)
    loaded, encoder = attributor.model, attributor.encoder
    source = source_of(loaded, data, unknown, unknown_val, groups, group_column)
    dataset = source.open(cache, progress=progress)
    parts = extract_parts(
        dataset,
        encoder,
        open_store(cache, encoder),
        parts=("test", "val_unknown", "test_unknown"),
        progress=progress,
    )
    points = list(few_shots(loaded, parts, shots=numbers, seeds=range(seeds), progress=progress))
    record = provenance(
        {**source.as_config(), "shots": numbers, "model": str(model.resolve())},
        seeds={"seed": source.seed, "draws": seeds},
        encoder=encoder.describe(),
        data_hash=parts.data_hash,
    )
    write_few_shot(points, record, folder)
    show_table(few_shot_rows(points), title=f"{dataset.name}: enrolled from few images")
    say(f"Everything is in {folder}: fewshot.md, fewshot.json, plots/fewshot.png")
