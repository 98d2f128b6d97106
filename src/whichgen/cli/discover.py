"""``whichgen discover``: group images of unknown origin by putative generator."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from whichgen.cli.command import command
from whichgen.cli.console import say, show_progress, show_table
from whichgen.cli.error_exits import exit_on_unreadable
from whichgen.cli.shared_options import ModelOptions, OutputDir, Seed, check_writable
from whichgen.defaults import MIN_GROUP_SIZE
from whichgen.errors import DataError
from whichgen.phrases import format_count


@command
def discover(
    folder: Annotated[Path, Argument(help="Folder of images.")],
    model: ModelOptions,
    n_clusters: Annotated[
        int | None, Option(min=1, help="Number of groups.", show_default="chosen by HDBSCAN")
    ] = None,
    min_size: Annotated[
        int, Option(min=2, help="Minimum number of images per group; ignored with --n-clusters.")
    ] = MIN_GROUP_SIZE,
    every_image: Annotated[
        bool, Option("--all", help="Group all images, not only those classified as `unknown`.")
    ] = False,
    output_dir: Annotated[Path, OutputDir(help="Results folder.")] = Path("discovered"),
    seed: Seed = 0,
) -> None:
    """Group images of unknown origin by putative generator."""
    import numpy as np

    from whichgen.data.dataset import list_images
    from whichgen.data.images.decoding import hash_image, read_bytes
    from whichgen.evaluation.clustering import compute_clustering_metrics
    from whichgen.inference.discover import discover as find_groups
    from whichgen.io.file_names import escape_name
    from whichgen.io.run_metadata import hash_parts
    from whichgen.openset.threshold import decide
    from whichgen.report.discovery_report import Discovery, tabulate_discovery, write_discovery

    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Specify a folder of images.")
    files = list_images(folder)
    if not files:
        raise DataError(f"{folder} contains no images. Specify a folder of images.")
    check_writable(output_dir)
    attributor = model.load()
    features, errors = attributor.encode(files, batch_size=model.batch_size, progress=show_progress)
    readable_files = np.array(
        [file for file, error in zip(files, errors, strict=True) if not error]
    )
    is_unknown = decide(*attributor.model.predict(features), attributor.model.threshold) < 0
    say(
        f"Classified as `unknown`: {is_unknown.sum()} of "
        f"{format_count(len(readable_files), 'image')}"
    )
    is_selected = is_unknown | every_image
    paths = tuple(readable_files[is_selected])
    groups, group_numbers = find_groups(
        attributor.model,
        attributor.encoder,
        features[is_selected],
        k=n_clusters,
        min_size=min_size,
        seed=seed,
    )
    parents = [p.relative_to(folder).parts[:-1] for p in paths]
    true_origins = tuple(escape_name(parts[0]) if parts else "" for parts in parents)
    agreement = (
        compute_clustering_metrics(np.array(true_origins), group_numbers)
        if len(set(true_origins)) > 1
        else None
    )
    discovery = Discovery(paths, true_origins, tuple(groups), agreement)
    data_hash = hash_parts(hash_image(read_bytes(path)) for path in paths)
    options = {"n_clusters": n_clusters, "min_size": min_size, "all": every_image}
    config = {"folder": str(folder.resolve()), **options}
    record = model.describe_run(attributor.model, {"seed": seed}, data_hash, **config)
    write_discovery(discovery, record, output_dir)
    show_table(
        tabulate_discovery(discovery),
        title=f"{format_count(len(groups), 'group')} of similar images among "
        f"{format_count(len(paths), 'image')}",
    )
    if agreement:
        say(f"Agreement with subfolders: {agreement}")
    say(
        f"Results: {output_dir} (report.md, sheet.png, groups.csv, groups.json, one list per group)"
    )
    if groups:
        group = shlex.quote(f"@{output_dir / groups[0].name}.txt")
        path = shlex.quote(str(model.path))
        say(f"To add a group to the model: whichgen enroll NAME {group} -m {path}")
    exit_on_unreadable([error for error in errors if error], len(files))
