"""``whichgen extract``: compute the features of a large collection ahead of training."""

from __future__ import annotations

from functools import partial

from whichgen.cli.collection_options import CollectionSources, EngineOptions
from whichgen.cli.command import resumable_command
from whichgen.cli.console import say, show_progress
from whichgen.cli.error_exits import exit_on_unreadable
from whichgen.cli.shared_options import CacheDir, EncoderOptions, open_store
from whichgen.defaults import CACHE_DIR
from whichgen.phrases import format_count


@resumable_command
def extract(
    sources: CollectionSources,
    engine: EngineOptions,
    encoder: EncoderOptions,
    cache_dir: CacheDir = CACHE_DIR,
) -> None:
    """Compute the features of a collection; skip images with cached features.

    SOURCES can be image, .tar and .parquet files, folders of such files, or URLs such as
    s3://BUCKET/PREFIX and hf://datasets/OWNER/NAME.
    """
    from whichgen.data.shards.find_shards import count_images, find_shards
    from whichgen.encoders.loading import load_encoder
    from whichgen.features.batching import BatchEncoder
    from whichgen.features.extraction import write_features
    from whichgen.features.shard_extraction import EncodingJob, KeySet, encode_shard

    name, device, dtype = encoder.name, encoder.device, encoder.dtype
    batch_size = encoder.batch_size
    shards = find_shards(sources, column=engine.column, batch_size=batch_size)
    # With Ray, the workers run the encoder; this process only writes to the feature store.
    local_encoder = load_encoder(
        name, device=device if engine.engine == "local" else "cpu", dtype=dtype
    )
    store = open_store(cache_dir, local_encoder)

    encode, keys = BatchEncoder(local_encoder, pad_to=batch_size), KeySet(store.keys())
    job = EncodingJob(name, device, dtype, local_encoder.key, batch_size, keys)
    encode_locally = partial(encode_shard, encode=encode, batch_size=batch_size, keys_to_skip=store)
    with engine.process(shards, job, encode_locally) as results:
        summary = write_features(results, store, total=count_images(shards), progress=show_progress)
    say(
        f"{format_count(summary.n_images, 'image')}, {summary.n_added_rows:,} newly encoded. "
        f"Features: {store.folder}"
    )
    exit_on_unreadable([str(error) for error in summary.errors.values()], summary.n_images)
