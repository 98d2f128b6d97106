"""``whichgen gallery``: build and search a gallery of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

from whichgen.cli.command import command, resumable_command
from whichgen.cli.console import (
    require_extra,
    say,
    show_json,
    show_progress,
    show_table,
    warn,
    warn_skipped,
)
from whichgen.cli.error_exits import exit_if_all_missing, exit_on_unreadable
from whichgen.cli.image_arguments import find_images
from whichgen.cli.shared_options import (
    AsJson,
    CacheDir,
    Force,
    Images,
    ModelOptions,
    OutputDir,
    QdrantUrl,
    Real,
    Seed,
    Wide,
    open_gallery,
    open_store,
    split_names,
)
from whichgen.defaults import CACHE_DIR
from whichgen.errors import DataError
from whichgen.phrases import format_count

app = typer.Typer(
    help="Build and search a similarity index of up to millions of images.", no_args_is_help=True
)


@app.command()
@resumable_command
def build(
    data: Annotated[
        str, Argument(help="Folder of images (subfolders are origins) or dataset string.")
    ],
    model: ModelOptions,
    output_dir: Annotated[Path, OutputDir(help="Output folder.")] = Path("gallery"),
    kind: Annotated[
        Literal["auto", "flat", "ivf", "qdrant"],
        Option(help="Index: auto, flat (exact), ivf (approximate) or qdrant (server)."),
    ] = "auto",
    effort: Annotated[
        int,
        Option(
            min=0, help="Number of inverted lists (ivf) or candidates (qdrant) searched; 0: auto."
        ),
    ] = 0,
    qdrant_url: QdrantUrl = "",
    collection: Annotated[
        str, Option(help="Name of the Qdrant collection.", show_default="whichgen-MODEL_DIGEST")
    ] = "",
    real: Real = "",
    force: Force = False,
    seed: Seed = 0,
    cache_dir: CacheDir = CACHE_DIR,
) -> None:
    """Build a gallery of images for similarity search."""
    from whichgen.data.dataset_options import resolve_spec
    from whichgen.data.open_dataset import list_samples
    from whichgen.gallery.build import build_local_gallery, check_output_folder
    from whichgen.gallery.entries import collect_images
    from whichgen.gallery.index import TARGET_RECALL
    from whichgen.inference.similar_images import SimilaritySpace
    from whichgen.io.result_files import format_rate

    check_output_folder(output_dir, force=force)
    samples = list_samples(data, split_names(real))
    attributor = model.load()
    space = SimilaritySpace(attributor.model)
    if kind == "qdrant":
        # Connect before the images are encoded, because the connection may fail.
        with require_extra("qdrant"):
            from whichgen.gallery import qdrant
        client, name = qdrant.connect_to_qdrant(qdrant_url), f"whichgen-{space.digest[:16]}"
        qdrant_gallery = qdrant.QdrantGallery(client, collection or name, space, effort)
        qdrant_gallery.create_collection()
    images = collect_images(
        samples,
        space,
        attributor.encoder,
        open_store(cache_dir, attributor.encoder),
        batch_size=model.batch_size,
        progress=show_progress,
    )
    warn_skipped(images.skipped)
    if images.n_duplicates:
        say(f"Duplicate files skipped: {images.n_duplicates}")
    if images.n_conflicts:
        warn(
            f"Duplicate files with different origins: {images.n_conflicts}. The origin of each "
            "image is that of its first file. Remove wrong copies, and rebuild with --force."
        )
    config = {"data": resolve_spec(data), "kind": kind, "effort": effort}
    record = model.describe_run(
        attributor.model, {"seed": seed}, images.compute_data_hash(), **config
    )
    options: dict[str, Any] = {"force": force, "progress": show_progress}
    if kind == "qdrant":
        description = qdrant.build_qdrant_gallery(
            output_dir, images, record, qdrant_gallery, **options
        )
    else:
        options |= {"effort": effort, "kind": None if kind == "auto" else kind, "seed": seed}
        description = build_local_gallery(output_dir, images, record, **options)
    effort_text = f", effort {description.effort}" if description.effort else ""
    say(f"{format_count(len(images), 'image')}, {description.kind} index{effort_text}")
    if recall := description.recall:
        say(
            f"recall@1 {format_rate(recall.at_1)} %, recall@10 {format_rate(recall.at_10)} % "
            f"relative to exact search ({recall.queries:,} queries)"
        )
        if recall.at_10 < TARGET_RECALL:
            warn(
                f"recall@10 is below {100 * TARGET_RECALL:.0f} %. Rebuild with --force and either "
                "a higher --effort or --kind flat, which is exact."
            )
    url_option = f" --qdrant-url {qdrant_url}" if kind == "qdrant" else ""
    say(
        f"Gallery: {output_dir}. To search: whichgen gallery search IMAGE -g {output_dir}"
        f"{url_option}"
    )


@app.command()
@command
def search(
    images: Images,
    model: ModelOptions,
    gallery: Annotated[Path, Option("-g", "--gallery", help="Gallery folder.")] = Path("gallery"),
    k: Annotated[int, Option("-k", "--neighbors", min=1, help="Number of results per image.")] = 5,
    as_json: AsJson = False,
    wide: Wide = False,
    qdrant_url: QdrantUrl = "",
) -> None:
    """Find the gallery images that are most similar to each image."""
    from whichgen.gallery.gallery_description import read_description

    description = read_description(gallery)
    files = find_images(images)
    exit_if_all_missing(files)
    if model.model is None:
        config = description.run_metadata.get("config")
        model = replace(model, model=find_gallery_model(gallery, config))
    attributor = model.load()
    index = open_gallery(gallery, attributor.model, qdrant_url)
    features, errors = attributor.encode(files, batch_size=model.batch_size, progress=show_progress)
    neighbors = iter(index.find_neighbors(attributor.model.head.forward(features), k))
    results: list[dict[str, Any]] = [
        {
            "image": str(file),
            "error": error,
            "nearest": [
                {"path": neighbor.path, "origin": neighbor.origin, "cosine": neighbor.similarity}
                for neighbor in (() if error else next(neighbors))
            ],
        }
        for file, error in zip(files, errors, strict=True)
    ]
    if as_json:
        show_json(results)
    else:
        show_table(
            [
                {
                    "image": result["image"] if rank == 0 else "",
                    "similar image": neighbor["path"],
                    "origin": neighbor["origin"] or "–",
                    "cosine": f"{neighbor['cosine']:.3f}",
                }
                for result in results
                for rank, neighbor in enumerate(result["nearest"])
            ],
            title=f"Most similar of {format_count(description.n_images, 'image')}",
            paths=("image", "similar image"),
            wide=wide,
        )
    exit_on_unreadable([error for error in errors if error], len(files))


def find_gallery_model(gallery: Path, config: Any) -> Path:
    """Return the folder of the model with which a gallery was built.

    Parameters
    ----------
    gallery
        Folder of the gallery, for the error message.
    config
        Recorded configuration of the gallery; its key ``model`` is the folder of the model.

    Raises
    ------
    DataError
        The configuration contains no model folder, or the folder does not exist.
    """
    folder = config.get("model") if isinstance(config, dict) else None
    if not isinstance(folder, str) or not Path(folder).is_dir():
        raise DataError(
            f"can't find the model with which the gallery {gallery} was built. Set --model to the "
            "run folder or model folder of this model."
        )
    return Path(folder)
