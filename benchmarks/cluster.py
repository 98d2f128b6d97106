"""Compare the speed of extraction by the local engine and by a local Ray cluster.

``python benchmarks/cluster.py`` extracts features of CLIP ViT-B/16 with random weights from JPEG
files of 640 × 480 pixels and from tar archives of these files. It prints the table of
``cluster.md``. The engines run one after the other. The start of the cluster and of its workers is
not measured.
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
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.features.batching import BatchEncoder
from whichgen.features.extraction import write_features
from whichgen.features.shard_extraction import EncodingJob, KeySet, encode_shard
from whichgen.features.store import FeatureStore
from whichgen.io.result_files import format_markdown_table

sys.path.insert(0, str(Path(__file__).parent / "speed"))
from extraction import write_jpegs
from random_clip import write_random_clip


def measure(
    images: int, dtype: str, workers: int, repeats: int, folder: Path
) -> Iterable[dict[str, object]]:
    """Yield one row per source of images and repeat: images per second, and their ratio."""
    name = write_random_clip(folder / "clip")
    encoder = load_encoder(name, device="cpu", dtype=dtype)
    jpegs = write_jpegs(folder / "jpegs")
    for source in (copy_files(jpegs, images, folder), write_tars(folder, images)):
        shards = find_shards([str(source)], batch_size=BATCH_SIZE)
        for repeat in range(repeats):
            rates = []
            for engine in ("local", "ray"):
                store = FeatureStore(folder / f"{engine}{repeat}{source.name}", encoder)
                rates.append(measure_rate(encoder, shards, store, engine, workers))
            local, ray = rates
            yield {
                "source": source.name,
                "type": dtype,
                "threads, workers": workers,
                "local, images/s": f"{local:.1f}",
                "Ray, images/s": f"{ray:.1f}",
                "ratio": f"{ray / local:.2f}",
            }


def measure_rate(
    encoder: Encoder, shards: list[Shard], store: FeatureStore, engine: str, workers: int
) -> float:
    """Measure the images per second that are extracted and stored, after one part per worker.

    ``engine`` is ``local``, one process with ``workers`` threads, or ``ray``, with ``workers``
    worker processes.
    """
    if engine == "local":
        torch.set_num_threads(workers)
        encode = BatchEncoder(encoder, pad_to=BATCH_SIZE)
        parts = (
            part
            for shard in shards
            for part in encode_shard(shard, encode, batch_size=BATCH_SIZE, keys_to_skip=store)
        )
    else:
        job = EncodingJob(encoder.name, "cpu", encoder.dtype, encoder.key, BATCH_SIZE, KeySet(()))
        parts = run_on_cluster(job, shards, Workers(workers))
    for _ in range(workers):
        next(parts)
    start = time.perf_counter()
    summary = write_features(parts, store)
    return summary.images / (time.perf_counter() - start)


def copy_files(files: list[Path], images: int, folder: Path) -> Path:
    """Write different files with repeated pixels, and return their folder."""
    copies = folder / "files"
    copies.mkdir()
    for i in range(images):
        # Bytes after the end marker change the content hash of a JPEG file, but not its pixels.
        (copies / f"{i}.jpg").write_bytes(files[i % len(files)].read_bytes() + b"%d" % i)
    return copies


def write_tars(folder: Path, images: int) -> Path:
    """Write the files of :func:`copy_files` to four tar archives, and return their folder."""
    tars = folder / "tars"
    tars.mkdir()
    files = sorted((folder / "files").iterdir())
    for part in range(4):
        with tarfile.open(tars / f"{part}.tar", "w") as archive:
            for file in files[part * images // 4 : (part + 1) * images // 4]:
                data = file.read_bytes()
                member = tarfile.TarInfo(file.name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return tars


def main() -> None:
    """Print the table."""
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
        print(format_markdown_table(list(rows)))


if __name__ == "__main__":
    main()
