"""``whichgen enroll``: add a new origin to a model from a few images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument

from whichgen.cli.command import command
from whichgen.cli.console import progress, say, show_table, warn
from whichgen.cli.options import Force, Images, ModelOptions, OutputDir, check_writable, find_images
from whichgen.errors import DataError

#: Above this number of images, training a new model gives better results.
_ENOUGH_TO_TRAIN = 50


@command
def enroll(
    name: Annotated[str, Argument(help="Name of the new origin.")],
    images: Images,
    model: ModelOptions,
    output_dir: Annotated[
        Path | None, OutputDir(help="Folder of the new model.", show_default="RUN+NAME")
    ] = None,
    force: Force = False,
) -> None:
    """Add a new origin to a model from 1 to 50 images, without retraining."""
    from whichgen.data.reading import read_bytes
    from whichgen.inference.enroll import enroll_images
    from whichgen.io.tables import percent
    from whichgen.models.saved_model import DESCRIPTION_FILE, save_model

    run_folder = model.run_folder()
    if not output_dir and Path(name).name != name:
        raise DataError(f"{name!r} can't be a folder name. Name the folder with --output-dir.")
    folder = output_dir or run_folder.with_name(f"{run_folder.name}+{name}")
    if (folder / "model" / DESCRIPTION_FILE).is_file() and not force:
        raise DataError(
            f"{folder} already holds a model. Choose another --output-dir, or overwrite it with "
            "--force."
        )
    check_writable(folder)
    files = find_images(images)
    result = enroll_images(
        model.load(),
        name,
        {str(file): read_bytes(file) for file in files},
        batch_size=model.batch_size,
        progress=progress,
    )
    if result.n_images < len(files):
        warn(f"{len(files) - result.n_images} duplicate images are ignored.")
    save_model(result.model, folder / "model", name=str(folder))
    before, after = map(percent, result.old_accuracy)
    new = {"correct (%)": name, "before": "–", "after": percent(result.recognition_rate)}
    show_table(
        [{"correct (%)": "known origins", "before": before, "after": after}, new],
        title=f"{name} enrolled from {result.n_images} images",
        caption=f"Known origins: held-out exemplars. {name}: cross-validated.",
    )
    counts = ", ".join(f"{origin} {n}" for origin, n in result.previous_answers.items())
    say(f"Before enrollment the model attributed these images to: {counts}.")
    if result.n_images > _ENOUGH_TO_TRAIN:
        warn(f"note: with {result.n_images} images, training a new model gives better results.")
    say(f"New model: {folder} (the original is unchanged)")
