"""Pool of workers: results, errors and warnings are returned, and lost results are detected."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from whichgen.data.shards.find_shards import Files, Shard
from whichgen.errors import ClusterError, EncoderError, WhichgenWarning
from whichgen.io.remote import Storage

pytest.importorskip("ray", reason="ray is not installed: pip install 'whichgen[ray]'")

from ray import cloudpickle

import whichgen.distributed.ray_pool as pool_module
from whichgen.distributed.ray_pool import Workers, connect_to_ray, run_on_cluster


def make_shards(*sizes: int) -> list[Files]:
    """Create shards with these numbers of images."""
    return [Files(Storage(), tuple(f"{s}/{i}" for i in range(n))) for s, n in enumerate(sizes)]


@dataclass(frozen=True)
class NameJob:
    """Job that returns the name of each image; some names cause a warning, an error or a crash."""

    def start(self) -> Callable[[Shard], Iterator[str]]:
        """Return the function that reads names."""

        def work(shard: Shard) -> Iterator[str]:
            for item in shard.read():
                if item.name == "1/2":
                    warnings.warn("little memory", WhichgenWarning, stacklevel=1)
                    warnings.warn("not for the user", UserWarning, stacklevel=1)
                if item.name.startswith("9/"):
                    raise EncoderError("no encoder")
                if item.name.startswith("8/"):
                    os.kill(os.getpid(), signal.SIGKILL)
                yield item.name

        return work


def test_results_warnings_and_errors_are_returned(ray_cluster: Any) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    shards = make_shards(3, 4, 0)
    with connect_to_ray(), pytest.warns(WhichgenWarning, match="little memory") as caught:
        names = list(run_on_cluster(NameJob(), shards, Workers()))
    assert sorted(names) == ["0/0", "0/1", "0/2", "1/0", "1/1", "1/2", "1/3"]
    assert [str(w.message) for w in caught if w.category is not DeprecationWarning] == [
        "little memory"
    ]
    with pytest.raises(EncoderError, match="no encoder"):
        list(run_on_cluster(NameJob(), [*shards, Files(Storage(), ("9/0",))], Workers(2)))


def test_task_that_kills_every_worker_is_abandoned(
    ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(pool_module, "_RETRIES", 0)
    with pytest.raises(
        ClusterError, match=r"on the Ray cluster failed.*Run the same command again to resume"
    ):
        list(run_on_cluster(NameJob(), [Files(Storage(), ("8/0",))], Workers(1)))


@pytest.mark.parametrize("change", [lambda m: m[1:], lambda m: m[:-1], lambda m: m + m[:1]])
def test_lost_and_duplicate_results_are_errors(
    change: Callable[[list[Any]], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [pool_module._Message(name) for name in "ab"] + [pool_module._Message(count=2)]
    monkeypatch.setattr(pool_module.ray, "put", lambda job: job)
    monkeypatch.setattr(pool_module, "_stream_messages", lambda *_: iter(messages))
    assert list(run_on_cluster(NameJob(), make_shards(2), Workers())) == ["a", "b"]
    monkeypatch.setattr(pool_module, "_stream_messages", lambda *_: iter(change(messages)))
    with pytest.raises(ClusterError, match="lost or duplicated results"):
        list(run_on_cluster(NameJob(), make_shards(2), Workers()))


def test_missing_cluster_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module.ray, "is_initialized", lambda: False)
    with (
        pytest.raises(ClusterError, match=r"can't connect to a Ray cluster at 127.0.0.1:9 "),
        connect_to_ray("127.0.0.1:9"),
    ):
        pass


def test_ray_client_addresses_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module.ray, "is_initialized", lambda: False)
    with pytest.raises(ClusterError, match="ray job submit"), connect_to_ray("ray://host:10001"):
        pass


@pytest.mark.parametrize(
    ("workers", "resources", "count", "warns"),
    [
        (Workers(), {"CPU": 7.0}, 7, False),
        (Workers(cpus=2), {"CPU": 7.0}, 3, False),
        (Workers(cpus=8), {"CPU": 7.0}, 1, True),
        (Workers(), {"CPU": 8.0, "GPU": 2.0}, 2, False),
        (Workers(gpus=0.25), {"CPU": 64.0, "GPU": 2.0}, 8, False),
        (Workers(gpus=0.25), {"CPU": 4.0, "GPU": 2.0}, 4, False),
        (Workers(gpus=0), {"CPU": 4.0, "GPU": 2.0}, 4, False),
        (Workers(5), {"CPU": 2.0}, 5, True),
        (Workers(gpus=1), {"CPU": 2.0}, 1, True),
        (Workers(5, cpus=0), {"CPU": 2.0}, 5, False),
        (Workers(cpus=0), {"CPU": 2.0}, 1, False),
    ],
)
def test_number_of_workers_fits_the_cluster(
    workers: Workers,
    resources: dict[str, float],
    count: int,
    warns: bool,
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert pool_module._size_pool(workers, resources)[0] == count
    assert bool(caught) == warns
