"""The pool: each part once, whatever is lost on the way; errors and notes come back."""

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
from whichgen.cluster.pool import Workers, cluster, on_cluster


def shards_of(*sizes: int) -> list[Files]:
    """Shards of so many images."""
    return [Files(Storage(), tuple(f"{s}/{i}" for i in range(n))) for s, n in enumerate(sizes)]


@dataclass(frozen=True)
class Named:
    """Finds the names of images, one a part; of some it can say more."""

    def start(self, cpus: int) -> Callable[[Shard], Iterator[str]]:
        """Nothing to make ready."""

        def work(shard: Shard) -> Iterator[str]:
            for item in shard.read():
                if item.name == "1/2":
                    warnings.warn("memory lacked", WhichgenWarning, stacklevel=1)
                    warnings.warn("of no interest", UserWarning, stacklevel=1)
                if item.name.startswith("9/"):
                    raise EncoderError("no encoder")
                if item.name.startswith("8/"):
                    os.kill(os.getpid(), signal.SIGKILL)
                yield item.name

        return work


def test_parts_notes_and_errors_come_back(ray_cluster: Any) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    shards = shards_of(3, 4, 0)
    with cluster(), pytest.warns(WhichgenWarning, match="memory lacked") as caught:
        found = list(on_cluster(Named(), shards, Workers()))
    assert sorted(found) == ["0/0", "0/1", "0/2", "1/0", "1/1", "1/2", "1/3"]
    assert [str(w.message) for w in caught if w.category is not DeprecationWarning] == [
        "memory lacked"
    ]
    with pytest.raises(EncoderError, match="no encoder"):
        list(on_cluster(Named(), [*shards, Files(Storage(), ("9/0",))], Workers(2)))


def test_what_kills_every_worker_is_given_up(
    ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(pool_module, "_RETRIES", 0)
    with pytest.raises(ClusterError, match=r"the cluster gave up.*run the same command again"):
        list(on_cluster(Named(), [Files(Storage(), ("8/0",))], Workers(1)))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.randoms(), st.integers(0, 4))
def test_lost_and_doubled_parts_are_made_good(
    sizes: list[int], chance: random.Random, rounds: int
) -> None:
    shards = shards_of(*sizes)
    left = rounds

    def stream(job: Any, asked: Mapping[int, Shard], workers: Workers) -> Iterator[Any]:
        # One shard a round comes whole, so that it ends; of others, anything may be lost.
        nonlocal left
        left -= 1
        sent = []
        spared = chance.choice(list(asked))
        for number, shard in asked.items():
            names = [item.name for item in shard.read()]
            parts = [pool_module._Part(number, i, name) for i, name in enumerate(names)]
            parts.append(pool_module._Part(number, len(names)))
            if left >= 0 and number != spared:
                parts = [part for part in parts if chance.random() < 0.7]
            sent.append(parts + parts[: chance.randrange(3)])
        while any(sent):
            yield chance.choice([parts for parts in sent if parts]).pop(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_module, "_stream", stream)
        patch.setattr(pool_module.ray, "put", lambda job: job)
        found = list(on_cluster(Named(), shards, Workers()))
    assert sorted(found) == [f"{s}/{i}" for s, n in enumerate(sizes) for i in range(n)]


def test_a_cluster_that_ends_no_shard_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_stream", lambda *_: iter(()))
    monkeypatch.setattr(pool_module.ray, "put", lambda job: job)
    with pytest.raises(ClusterError, match="no worker came to the end"):
        list(on_cluster(Named(), shards_of(1), Workers()))


def test_no_cluster_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module.ray, "is_initialized", lambda: False)
    with (
        pytest.raises(ClusterError, match=r"no Ray cluster at 127.0.0.1:9 "),
        cluster("127.0.0.1:9"),
    ):
        pass


def test_a_client_is_sent_to_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module.ray, "is_initialized", lambda: False)
    with pytest.raises(ClusterError, match="ray job submit"), cluster("ray://host:10001"):
        pass


@pytest.mark.parametrize(
    ("workers", "has", "count", "told"),
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
def test_there_are_as_many_workers_as_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
    workers: Workers,
    has: dict[str, float],
    count: int,
    told: bool,
) -> None:
    monkeypatch.setattr(pool_module, "_resources", lambda: has)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert pool_module._count(workers, pool_module._gpus(workers)) == count
    assert bool(caught) == told
