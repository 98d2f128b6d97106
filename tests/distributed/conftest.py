"""Shared Ray cluster of two CPUs, and a slow job."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from whichgen.data.shards.find_shards import Shard


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """Start the cluster; tests can add and remove machines."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'whichgen[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    # Workers can't import test modules.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@dataclass(frozen=True)
class SlowJob:
    """Job that pauses before each result and records its workers in a folder."""

    job: Any
    folder: Path
    pause: float = 0.1

    def start(self) -> Callable[[Shard], Iterator[Any]]:
        """Record the process and its machine."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        (self.folder / f"{os.getpid()}.{node}").touch()
        process = self.job.start()

        def process_slowly(shard: Shard) -> Iterator[Any]:
            for result in process(shard):
                time.sleep(self.pause)
                yield result

        return process_slowly

    def workers(self) -> dict[int, str]:
        """Return the machine of each process that was started."""
        names = [file.name.split(".") for file in self.folder.iterdir()]
        return {int(pid): node for pid, node in names}
