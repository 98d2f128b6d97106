"""A Ray cluster of two CPUs, which all tests share, and work that takes its time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from whichgen.data.shards import Shard


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """The cluster; machines can be added to it and taken away."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'whichgen[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    # Workers do not find the tests' modules.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@dataclass(frozen=True)
class Slowly:
    """A job that pauses before each part, and whose workers say who and where they are."""

    job: Any
    folder: Path
    pause: float = 0.1

    def start(self, cpus: int) -> Callable[[Shard], Iterator[Any]]:
        """Notes the process and its machine in the folder."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        (self.folder / f"{os.getpid()}.{node}").touch()
        work = self.job.start(cpus)

        def slowed(shard: Shard) -> Iterator[Any]:
            for part in work(shard):
                time.sleep(self.pause)
                yield part

        return slowed

    def workers(self) -> dict[int, str]:
        """Process → machine, of all that were ever begun."""
        names = [file.name.split(".") for file in self.folder.iterdir()]
        return {int(process): node for process, node in names}
