"""``whichgen extract``: the features of a large collection into the store, here or on a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from whichgen.cli.console import fail, guarded, progress, say
from whichgen.cli.engine import (
    LOCAL,
    Address,
    Column,
    Engine,
    EngineName,
    WorkerCount,
    WorkerCpus,
    WorkerGpus,
)
from whichgen.cli.options import (
    CACHE,
    Backbone,
    BatchSize,
    CacheFolder,
    Device,
    Dtype,
    open_store,
    resolved,
)

Sources = Annotated[
    list[str],
    typer.Argument(
        help="Files and folders of images, .tar and .parquet: here, s3://BUCKET/PREFIX or "
        "hf://datasets/OWNER/NAME; lists: @FILE; data sets: GenImage:split=split1."
    ),
]

#: Reasons shown on the terminal; all of them are counted.
_MOST_REASONS = 20


@guarded
def extract(
    sources: Sources,
    backbone: Backbone = "openai/clip-vit-base-patch16",
    device: Device = "auto",
    dtype: Dtype = "float32",
    batch_size: BatchSize = 32,
    cache: CacheFolder = CACHE,
    column: Column = "",
    engine: EngineName = LOCAL,
    workers: WorkerCount = 0,
    cpus_per_worker: WorkerCpus = 1,
    gpus_per_worker: WorkerGpus = None,
    address: Address = "",
) -> None:
    """Compute the features of a large collection; what the store has is left out."""
    chosen = Engine(engine, workers, cpus_per_worker, gpus_per_worker, address)
    from whichgen.data.shards import count, find_shards
    from whichgen.encoders.loading import load_encoder
    from whichgen.features.shard_extraction import EncodeJob, KeySet, ShardEncoder, keep

    shards = find_shards(sources, column=column, batch_size=batch_size)
    backbone = resolved(backbone)
    # Workers of a cluster have devices of their own; here the encoder only says whose store it is.
    where = device if chosen.name == LOCAL else "cpu"
    encoder = load_encoder(backbone, device=where, dtype=dtype)
    store = open_store(cache, encoder)

    def job() -> EncodeJob:
        known = KeySet(store.keys())
        return EncodeJob(backbone, device, dtype, encoder.key, batch_size, known)

    with chosen.found(
        shards, lambda: ShardEncoder(encoder, known=store, batch_size=batch_size), job
    ) as found:
        kept = keep(found, store, total=count(shards), progress=progress)
    say(f"{kept.images} images, {kept.added} of them new. The features are in {store.folder}")
    told_unread(kept.failed, kept.images)


def told_unread(reasons: tuple[str, ...], images: int) -> None:
    """Ends the command if images can't be read, and says which."""
    if reasons:
        first = "\n".join(reasons[:_MOST_REASONS])
        fail(f"{len(reasons)} of {images} images can't be read:\n{first}")
        raise typer.Exit(1)
