"""``whichgen enroll``: add a new origin to a model from a few images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument

from whichgen.cli.command import command
from whichgen.cli.console import say, show_progress, show_table, warn
from whichgen.cli.image_arguments import find_images
from whichgen.cli.shared_options import Force, Images, ModelOptions, OutputDir, check_writable
from whichgen.errors import DataError
from whichgen.phrases import format_count

#: With more images than this, the command suggests training a new model.
_ENOUGH_TO_TRAIN = 50


@command
def enroll(
    name: Annotated[str, Argument(help="Name of the new origin.")],
    images: Images,
    model: ModelOptions,
    output_dir: Annotated[
        Path | None, OutputDir(help="Folder of the new model.", show_default="RUN_FOLDER+NAME")
    ] = None,
    force: Force = False,
) -> None:
    """Add a new origin to a model from a few images, without retraining."""
    from whichgen.data.images.decoding import read_bytes
    from whichgen.data.origins.origin_names import validate_origin_names
    from whichgen.inference.enroll import enroll_images
    from whichgen.io.result_files import format_rate
    from whichgen.models.saved_model import DESCRIPTION_FILE, find_model_folder, save_model

    validate_origin_names([name])
    run_folder = model.find_run_folder()
    folder = output_dir or run_folder.with_name(f"{run_folder.name}+{name}")
    if (folder / "model" / DESCRIPTION_FILE).is_file() and not force:
        raise DataError(
            f"{folder} already contains a model. Choose another --output-dir, or add --force to "
            "overwrite the model."
        )
    check_writable(folder)
    is_replaced = (folder / "model").resolve() == find_model_folder(model.path).resolve()
    files = find_images(images)
    contents = {str(file): read_bytes(file) for file in files}
    result = enroll_images(
        model.load(),
        name,
        contents,
        batch_size=model.batch_size,
        progress=show_progress,
    )
    if result.n_images < len(files):
        warn(f"Duplicate images ignored: {len(files) - result.n_images}")
    save_model(result.model, folder / "model", name=str(folder))
    before, after = map(format_rate, result.accuracy_before_after)
    new_row = {"correct (%)": name, "before": "–", "after": format_rate(result.recognition_rate)}
    show_table(
        [{"correct (%)": "known origins", "before": before, "after": after}, new_row],
        title=f"{name} enrolled from {format_count(result.n_images, 'image')}",
        caption=f"Known origins: validation images stored in the model. {name}: cross-validated.",
    )
    counts = ", ".join(f"{origin} {n}" for origin, n in result.previous_answers.items())
    say(f"Answers for these images before enrollment: {counts}.")
    if result.n_images > _ENOUGH_TO_TRAIN:
        say(
            f"note: with {result.n_images} images of {name}, you can also train a new model. Put "
            f"them in a folder {name} beside the folders of the other origins, and run a training "
            "command such as `whichgen fuse`."
        )
    say(f"New model: {folder} (the original model is {'replaced' if is_replaced else 'unchanged'})")
