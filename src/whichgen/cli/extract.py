"""``whichgen extract``: compute the features of a large collection ahead of training."""

from __future__ import annotations

from whichgen.cli.command import command
from whichgen.cli.console import exit_on_unreadable, progress, say
from whichgen.cli.engine import LOCAL, EngineOptions, Sources
from whichgen.cli.options import (
    CACHE_DIR,
    Backbone,
    BatchSize,
    CacheDir,
    Device,
    Dtype,
    open_store,
    resolve_backbone,
)
from whichgen.constants import BACKBONE, BATCH_SIZE


@command
def extract(
    sources: Sources,
    engine: EngineOptions,
    backbone: Backbone = BACKBONE,
    device: Device = "auto",
    dtype: Dtype = "float32",
    batch_size: BatchSize = BATCH_SIZE,
    cache_dir: CacheDir = CACHE_DIR,
) -> None:
    """Compute the features of a collection; cached ones are skipped."""
    from whichgen.data.shards import count, find_shards
    from whichgen.encoders.loading import load_encoder
    from whichgen.features.shard_extraction import EncodeJob, KeySet, ShardEncoder, keep

    shards = find_shards(sources, column=engine.column, batch_size=batch_size)
    backbone = resolve_backbone(backbone)
    # With Ray, workers load the encoder; this process only needs to know its store.
    local_device = device if engine.engine == LOCAL else "cpu"
    encoder = load_encoder(backbone, device=local_device, dtype=dtype)
    store = open_store(cache_dir, encoder)

    def job() -> EncodeJob:
        known = KeySet(store.keys())
        return EncodeJob(backbone, device, dtype, encoder.key, batch_size, known)

    def local() -> ShardEncoder:
        return ShardEncoder(encoder, known=store, batch_size=batch_size)

    with engine.process(shards, local, job) as results:
        summary = keep(results, store, total=count(shards), progress=progress)
    say(f"{summary.images} images, {summary.added} of them new. Features: {store.folder}")
    exit_on_unreadable(summary.failed, summary.images)
