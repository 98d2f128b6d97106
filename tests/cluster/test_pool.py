"""The pool: each result once, whatever is lost on the way; errors and warnings come back."""

from __future__ import annotations

import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgen.data.shards import Files, Shard
from whichgen.errors import ClusterError, EncoderError, WhichgenWarning
from whichgen.io.remote import Storage

pytest.importorskip("ray", reason="ray is not installed: pip install 'whichgen[ray]'")

from ray import cloudpickle

import whichgen.cluster.pool as pool_module
from whichgen.cluster.pool import Workers, connect_to_ray, run_on_cluster


def make_shards(*sizes: int) -> list[Files]:
    """Return shards with these numbers of images."""
    return [Files(Storage(), tuple(f"{s}/{i}" for i in range(n))) for s, n in enumerate(sizes)]


@dataclass(frozen=True)
class NameJob:
    """Return the name of each image; some names cause a warning, an error or a crash."""

    def start(self, cpus: int) -> Callable[[Shard], Iterator[str]]:
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


def test_results_warnings_and_errors_come_back(ray_cluster: Any) -> None:
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


def test_a_task_that_kills_every_worker_is_given_up(
    ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(pool_module, "_RETRIES", 0)
    with pytest.raises(ClusterError, match=r"the cluster failed.*run the same command again"):
        list(run_on_cluster(NameJob(), [Files(Storage(), ("8/0",))], Workers(1)))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.randoms(), st.integers(0, 4))
def test_lost_and_duplicate_results_are_repaired(
    sizes: list[int], chance: random.Random, rounds: int
) -> None:
    shards = make_shards(*sizes)
    lossy_rounds = rounds

    def stream(job: Any, remaining: Mapping[int, Shard], workers: Workers) -> Iterator[Any]:
        # One shard per round is complete, so that the loop ends; the others lose results.
        nonlocal lossy_rounds
        lossy_rounds -= 1
        queues = []
        complete = chance.choice(list(remaining))
        for number, shard in remaining.items():
            shard_names = [item.name for item in shard.read()]
            messages = [pool_module._Message(number, i, name) for i, name in enumerate(shard_names)]
            messages.append(pool_module._Message(number, len(shard_names)))
            if lossy_rounds >= 0 and number != complete:
                messages = [m for m in messages if chance.random() < 0.7]
            queues.append(messages + messages[: chance.randrange(3)])
        while any(queues):
            yield chance.choice([queue for queue in queues if queue]).pop(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_module, "_stream", stream)
        patch.setattr(pool_module.ray, "put", lambda job: job)
        names = list(run_on_cluster(NameJob(), shards, Workers()))
    assert sorted(names) == [f"{s}/{i}" for s, n in enumerate(sizes) for i in range(n)]


def test_a_cluster_that_completes_no_shard_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_stream", lambda *_: iter(()))
    monkeypatch.setattr(pool_module.ray, "put", lambda job: job)
    with pytest.raises(ClusterError, match="no worker completed a shard"):
        list(run_on_cluster(NameJob(), make_shards(1), Workers()))


def test_a_missing_cluster_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module.ray, "is_initialized", lambda: False)
    with (
        pytest.raises(ClusterError, match=r"no Ray cluster at 127.0.0.1:9 "),
        connect_to_ray("127.0.0.1:9"),
    ):
        pass


def test_ray_client_addresses_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module.ray, "is_initialized", lambda: False)
    with pytest.raises(ClusterError, match="ray job submit"), connect_to_ray("ray://host:10001"):
        pass


@pytest.mark.parametrize(
    ("workers", "has", "count", "warns"),
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
    ],
)
def test_the_number_of_workers_fits_the_cluster(
    workers: Workers,
    has: dict[str, float],
    count: int,
    warns: bool,
) -> None:
    gpus = workers.gpus if workers.gpus is not None else float(has.get("GPU", 0) > 0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert pool_module._count_workers(workers, gpus, has) == count
    assert bool(caught) == warns
