"""``whichgen gallery``: build a gallery of many images, and search it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichgen.cli.attribute import find_images, opened_gallery
from whichgen.cli.console import fail, guarded, needs_extra, progress, say, show_table, warn
from whichgen.cli.options import (
    CACHE,
    BatchSize,
    CacheFolder,
    Device,
    QdrantUrl,
    Seed,
    open_store,
    warn_skipped,
)
from whichgen.cli.robustness import Backbone, ModelFolder
from whichgen.errors import DataError

if TYPE_CHECKING:
    from whichgen.gallery.entries import Images
    from whichgen.gallery.storage import Description

app = typer.Typer(
    help="Find the nearest among up to millions of images.",
    no_args_is_help=True,
    context_settings={"token_normalize_func": lambda token: token.replace("_", "-")},
)


@app.command()
@guarded
def build(
    model: ModelFolder,
    data: Annotated[
        str,
        typer.Argument(
            help="A folder of images, whose sub-folders are origins, or a data-set string."
        ),
    ],
    output_dir: Annotated[
        Path, typer.Option("-o", "--output_dir", help="The gallery's folder.")
    ] = Path("gallery"),
    kind: Annotated[
        str,
        typer.Option(
            help="flat (exact), hnsw, ivf, ivf-sq8 (a quarter of the memory), or qdrant (a "
            "service, by --url); auto: flat to 100,000 images, ivf above."
        ),
    ] = "auto",
    effort: Annotated[
        int,
        typer.Option(
            min=0,
            help="Lists (ivf) or candidates (hnsw, qdrant) that a search looks at; 0: as few as "
            "find 95 % of the ten nearest (qdrant: its default).",
        ),
    ] = 0,
    url: QdrantUrl = "",
    collection: Annotated[
        str, typer.Option(help="Qdrant's collection (default: whichgen- and the model's digest).")
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Replace a gallery that is in the folder.")
    ] = False,
    seed: Seed = 0,
    backbone: Backbone = "",
    device: Device = "auto",
    batch_size: BatchSize = 32,
    cache: CacheFolder = CACHE,
) -> None:
    """Index images, to search for those most like one. Stopped, it goes on when run again."""
    from typing import get_args

    from whichgen.data.dataset_options import absolute
    from whichgen.data.folders import every_sample
    from whichgen.gallery.build import build_local, check_place, data_hash
    from whichgen.gallery.entries import gather
    from whichgen.gallery.index import Kind
    from whichgen.inference.attributor import Attributor
    from whichgen.inference.nearest import Comparison
    from whichgen.io.run_metadata import provenance

    kinds = {name: name for name in get_args(Kind)}
    if kind not in ("auto", "qdrant", *kinds):
        raise DataError(f"--kind {kind!r}: there are auto, {', '.join(kinds)} and qdrant.")
    check_place(output_dir, force=force)
    client = None
    if kind == "qdrant":
        if not url:
            raise DataError("--kind qdrant needs --url, as in --url http://localhost:6333.")
        with needs_extra("qdrant"):
            from whichgen.gallery.qdrant import build_qdrant, connect, open_collection
        client = connect(url)
    samples = every_sample(data)
    attributor = Attributor.load(model, device=device, backbone=backbone)
    comparison = Comparison(attributor.model)
    encoder = attributor.encoder
    name = collection or f"whichgen-{comparison.digest[:16]}"
    if client is not None:
        open_collection(client, name, comparison)  # what is wrong with it is told now
    images = gather(
        samples,
        comparison,
        encoder,
        open_store(cache, encoder),
        batch_size=batch_size,
        progress=progress,
    )
    _tell(images)
    record = provenance(
        {"model": str(model.resolve()), "data": absolute(data), "kind": kind, "effort": effort},
        seeds={"seed": seed},
        encoder=encoder.describe(),
        data_hash=data_hash(images),
    )
    if client is not None:
        built = build_qdrant(
            output_dir,
            images,
            record,
            client,
            name,
            effort=effort,
            seed=seed,
            force=force,
            progress=progress,
        )
    else:
        built = build_local(
            output_dir,
            images,
            record,
            kind=kinds.get(kind),
            effort=effort,
            seed=seed,
            force=force,
            progress=progress,
        )
    _show(built)
    say(f"The gallery is in {output_dir}. To search it: whichgen gallery search {output_dir} IMAGE")


@app.command()
@guarded
def search(
    gallery: Annotated[Path, typer.Argument(help="A gallery's folder.")],
    images: Annotated[
        list[Path], typer.Argument(help="Image files, folders of them, or lists: @FILE.")
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="How many nearest to tell.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    model: Annotated[
        Path | None,
        typer.Option(help="The model it was built with, if that is not where it was."),
    ] = None,
    url: QdrantUrl = "",
    backbone: Backbone = "",
    device: Device = "auto",
    batch_size: BatchSize = 32,
) -> None:
    """Tell the images of a gallery that are most like each image."""
    from whichgen.gallery.storage import read_description
    from whichgen.inference.attributor import Attributor

    told = read_description(gallery)
    files = find_images(images)
    attributor = Attributor.load(
        model or _recorded_model(gallery, told), device=device, backbone=backbone
    )
    among = opened_gallery(gallery, attributor.model, url)
    features, errors = attributor.encode(files, batch_size=batch_size, progress=progress)
    answers = iter(among.nearest(features, k))
    found = [
        (file, error, () if error else next(answers))
        for file, error in zip(files, errors, strict=True)
    ]
    if as_json:
        rows = [
            {
                "image": str(file),
                "error": error,
                "nearest": [
                    {"path": n.path, "origin": n.origin, "cosine": n.similarity} for n in nearest
                ],
            }
            for file, error, nearest in found
        ]
        sys.stdout.write(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    else:
        show_table(
            [
                {
                    "image": file if rank == 0 else "",
                    "origin": near.origin or "–",
                    "cosine": f"{near.similarity:.4f}",
                    "nearest": near.path,
                }
                for file, _, nearest in found
                for rank, near in enumerate(nearest)
            ],
            title=f"The nearest of {told.number:,} images",
            whole=("origin", "cosine"),
        )
    unread = [error for error in errors if error]
    if unread:
        fail(f"{len(unread)} of {len(files)} images can't be read:\n" + "\n".join(unread[:20]))
        raise typer.Exit(1)


def _recorded_model(folder: Path, told: Description) -> Path:
    """Where the model was when the gallery was built."""
    config = told.provenance.get("config")
    where = config.get("model") if isinstance(config, dict) else None
    if not isinstance(where, str) or not Path(where).is_dir():
        raise DataError(f"the model that {folder} was built with is gone: say where with --model.")
    return Path(where)


def _tell(images: Images) -> None:
    """What was left out."""
    warn_skipped(images.skipped)
    if images.doubled:
        say(f"{images.doubled} files are copies of others; each content is there once.")
    if images.contradicted:
        warn(
            f"{images.contradicted} of the copies have another origin than the file that counts: "
            "the first one in the order of paths."
        )


def _show(built: Description) -> None:
    """The size of a gallery and its recall."""
    from whichgen.gallery.recall import ENOUGH

    recall = built.recall
    show_table(
        [
            {
                "images": f"{built.number:,}",
                "dimension": built.dimension,
                "kind": built.kind,
                "effort": built.effort or "–",
                "recall@1, %": "–" if recall is None else f"{100 * recall.at_1:.1f}",
                "recall@10, %": "–" if recall is None else f"{100 * recall.at_10:.1f}",
                "queries": 0 if recall is None else recall.queries,
            }
        ],
        title="Recall: found by this search, of the nearest by exact search",
    )
    if recall is not None and recall.at_10 < ENOUGH:
        warn(
            f"recall@10 is under {100 * ENOUGH:.0f} %: of ten nearest images one or more are often "
            "missed. Build with a higher --effort, or another --kind (flat misses none)."
        )
