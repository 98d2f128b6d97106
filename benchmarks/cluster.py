"""Extraction by both engines side by side: images a second, local and on a local Ray cluster.

``python benchmarks/cluster.py`` measures CLIP ViT-B/16 with random weights on JPEGs of 640 × 480,
as files and in tars, and writes the table of ``cluster.md`` to standard output. A ratio is of runs
one after the other; a cluster's start and its workers' are outside, as they are paid once.
"""

from __future__ import annotations

import argparse
import io
import sys
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from whichgen.data.shards.find_shards import Shard, find_shards
from whichgen.defaults import BATCH_SIZE
from whichgen.distributed.ray_pool import Workers, connect_to_ray, run_on_cluster
from whichgen.encoders.base import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.features.batching import BatchEncoder
from whichgen.features.extraction import write_features
from whichgen.features.shard_extraction import EncodeJob, KeySet, encode_shard
from whichgen.features.store import FeatureStore
from whichgen.io.result_files import markdown_table

sys.path.insert(0, str(Path(__file__).parent / "speed"))
from extraction import jpegs
from random_clip import clip_b16


def measure(
    images: int, dtype: str, workers: int, repeats: int, folder: Path
) -> Iterable[dict[str, object]]:
    """A row for each source: rates in images a second, steady, and their ratio."""
    name = clip_b16(folder / "clip")
    encoder = load_encoder(name, device="cpu", dtype=dtype)
    for source in (copies(jpegs(folder / "jpegs"), images, folder), tars(folder, images)):
        shards = find_shards([str(source)], batch_size=BATCH_SIZE)
        for repeat in range(repeats):
            rates = []
            for engine in ("local", "ray"):
                store = FeatureStore(folder / f"{engine}{repeat}{source.name}", encoder)
                rates.append(rate(encoder, shards, store, engine, workers))
            local, ray = rates
            yield {
                "source": source.name,
                "type": dtype,
                "threads, workers": workers,
                "one process of so many threads, images/s": f"{local:.1f}",
                "so many workers of Ray, images/s": f"{ray:.1f}",
                "ratio": f"{ray / local:.2f}",
            }


def rate(
    encoder: Encoder, shards: list[Shard], store: FeatureStore, engine: str, workers: int
) -> float:
    """Images a second: from when there are as many parts as workers, to the last one stored."""
    if engine == "local":
        torch.set_num_threads(workers)
        encode = BatchEncoder(encoder, pad_to=BATCH_SIZE)
        found = (
            part
            for shard in shards
            for part in encode_shard(shard, encode, batch_size=BATCH_SIZE, keys_to_skip=store)
        )
    else:
        job = EncodeJob(encoder.name, "cpu", encoder.dtype, encoder.key, BATCH_SIZE, KeySet(()))
        found = run_on_cluster(job, shards, Workers(workers))
    for _ in range(workers):
        next(found)
    start = time.perf_counter()
    summary = write_features(found, store)
    return summary.images / (time.perf_counter() - start)


def copies(files: list[Path], images: int, folder: Path) -> Path:
    """So many files that differ; the pixels repeat, which the encoder does not know."""
    made = folder / "files"
    made.mkdir()
    for i in range(images):
        # What follows a JPEG's end mark is part of its content, and not of its picture.
        (made / f"{i}.jpg").write_bytes(files[i % len(files)].read_bytes() + b"%d" % i)
    return made


def tars(folder: Path, images: int) -> Path:
    """The same files in four tars."""
    made = folder / "tars"
    made.mkdir()
    files = sorted((folder / "files").iterdir())
    for part in range(4):
        with tarfile.open(made / f"{part}.tar", "w") as archive:
            for file in files[part * images // 4 : (part + 1) * images // 4]:
                data = file.read_bytes()
                member = tarfile.TarInfo(file.name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return made


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with TemporaryDirectory() as folder, connect_to_ray():
        rows = measure(
            options.images, options.dtype, options.workers, options.repeats, Path(folder)
        )
        print(markdown_table(list(rows)))


if __name__ == "__main__":
    main()
