"""Extraction on a cluster: bitwise equal to local extraction, even if workers die."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import noise_image, pack_images, stored_rows
from whichgen.data.dataset import Sample, list_images
from whichgen.data.shards.find_shards import find_shards
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.features.extraction import ExtractionSummary, extract, write_features
from whichgen.features.shard_extraction import EncodingJob
from whichgen.features.store import FeatureStore

from .conftest import SlowJob

pytest.importorskip("ray", reason="ray is not installed: pip install 'whichgen[ray]'")

from whichgen.distributed.ray_pool import Workers, run_on_cluster

BATCH = 4


@pytest.fixture(scope="module")
def encoder(tiny_clip: Path) -> Encoder:
    """Encoder whose rounding depends on the batch size."""
    return load_encoder(str(tiny_clip), device="cpu")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """48 images as files, 40 in a tar and 32 in a Parquet file; 8 of each are identical."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "files").mkdir()
    contents = {}
    for i in range(104):
        file = folder / "files" / f"{i:03d}.png"
        noise_image(i).save(file)
        contents[i] = (file.name, file.read_bytes())
        if i >= 48:
            file.unlink()
    tar = dict(contents[i] for i in (*range(8), *range(48, 80)))
    rows = dict(contents[i] for i in (*range(8), *range(80, 104)))
    return [
        str(folder / "files"),
        str(pack_images(folder / "a.tar", tar)),
        str(pack_images(folder / "a.parquet", rows, rows=8)),
    ]


@pytest.fixture(scope="module")
def expected(
    sources: list[str], encoder: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> dict[bytes, bytes]:
    """Compute the rows that `linear` and `fuse` store for the same images."""
    folder = tmp_path_factory.mktemp("expected")
    files = []
    for shard in find_shards(sources):
        for item in shard.read():
            files.append(folder / f"{len(files)}.png")
            files[-1].write_bytes(item.load())
    assert len(files) == 120
    store = FeatureStore(folder / "store", encoder)
    extract([Sample(file, "x") for file in list_images(folder)], encoder, store, batch_size=BATCH)
    assert len(store) == 104
    return stored_rows(folder / "store", encoder)


@dataclass(frozen=True)
class Case:
    """Sources, expected rows, and a slow job that can be interrupted."""

    sources: list[str]
    expected: dict[bytes, bytes]
    encoder: Encoder
    job: SlowJob
    folder: Path

    def run(self, workers: int, meanwhile: Callable[[int], None]) -> ExtractionSummary:
        """Fill a store; ``meanwhile`` is called with the number of batches received."""
        shards = find_shards(self.sources, batch_size=BATCH)

        def batches() -> Iterator[Any]:
            results = run_on_cluster(self.job, shards, Workers(workers))
            for number, batch in enumerate(results, start=1):
                meanwhile(number)
                yield batch

        return write_features(batches(), FeatureStore(self.folder, self.encoder))

    def check(self, summary: ExtractionSummary) -> None:
        """Check that nothing is lost or duplicated, bitwise."""
        assert (summary.n_images, summary.n_added_rows, summary.errors) == (120, 104, {})
        assert stored_rows(self.folder, self.encoder) == self.expected


@pytest.fixture
def case(
    encoder: Encoder, sources: list[str], expected: dict[bytes, bytes], tmp_path: Path
) -> Case:
    """Create the case with an empty store."""
    (tmp_path / "workers").mkdir()
    job = EncodingJob(encoder.name, "cpu", "float32", encoder.key, BATCH)
    slow_job = SlowJob(job, tmp_path / "workers")
    return Case(sources, expected, encoder, slow_job, tmp_path / "store")


def test_killed_workers_lose_no_result(ray_cluster: Any, case: Case) -> None:
    killed: list[int] = []

    def kill(batches: int) -> None:
        # The second time, the worker can be processing the tar, which is one shard.
        if batches in (3, 12):
            process = next(p for p in case.job.workers() if p not in killed)
            os.kill(process, signal.SIGKILL)
            killed.append(process)

    summary = case.run(2, kill)
    assert len(killed) == 2
    assert len(case.job.workers()) >= 3, "no worker was replaced"
    case.check(summary)


def test_lost_machine_loses_no_result(ray_cluster: Any, case: Case) -> None:
    machine = ray_cluster.add_node(num_cpus=1)
    ray_cluster.wait_for_nodes()
    lost: list[int] = []

    def unplug(batches: int) -> None:
        if machine.node_id in case.job.workers().values() and not lost and batches >= 3:
            ray_cluster.remove_node(machine, allow_graceful=False)
            lost.append(batches)

    summary = case.run(3, unplug)
    assert lost, "no worker started on the machine"
    case.check(summary)
