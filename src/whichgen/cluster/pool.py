"""Shards worked on by a pool of actors, of Ray Data; what they find comes back to one process.

A worker needs no shared disk and writes nothing. It may die at any time: Ray starts another one and
gives it the shard again, from its beginning. Whoever asked gets each part once all the same, as
parts are numbered, and a shard of which a part is missing is worked on anew.
"""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import ray
import ray.data
import ray.exceptions

from whichgen.data.shards import Shard
from whichgen.errors import ClusterError, WhichgenError, WhichgenWarning

T = TypeVar("T")
Found_co = TypeVar("Found_co", covariant=True)

#: How often a task is given to another worker after one died with it: what kills each worker that
#: gets it (a lack of memory, say) must end.
_RETRIES = 8

#: More shards are given out several at a time: each task is kept account of.
_TASKS = 4096


class Job(Protocol[Found_co]):
    """What a worker is to do; sent to it once."""

    def start(self, cpus: int) -> Callable[[Shard], Iterator[Found_co]]:
        """Made ready, on so many CPUs."""
        ...


@dataclass(frozen=True)
class Workers:
    """The pool.

    Parameters
    ----------
    count
        How many; 0: as many as the cluster has CPUs, or GPUs, for.
    cpus, gpus
        Of each. Several workers may share a GPU (0.25), so that more processes decode for it.
        ``gpus`` left out: one where the cluster has any, else none.
    """

    count: int = 0
    cpus: float = 1
    gpus: float | None = None


@dataclass(frozen=True)
class _Part(Generic[T]):
    """A numbered part of a shard's results; the one after the last has neither result nor error."""

    shard: int
    number: int
    found: T | None = None
    error: WhichgenError | None = None
    notes: tuple[str, ...] = ()


class _Worker:
    """The actor: one job, and shard after shard."""

    def __init__(self, job: ray.ObjectRef[Any], cpus: int) -> None:
        self._job, self._cpus = job, cpus
        self._work: Callable[[Shard], Iterator[Any]] | None = None

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, list[Any]]]:
        for number, shard in zip(batch["number"], batch["shard"], strict=True):
            for part in self._parts(int(number), shard):
                yield {"part": [part]}

    def _parts(self, number: int, shard: Shard) -> Iterator[_Part[Any]]:
        count = 0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", WhichgenWarning)
            try:
                # Here and not when the actor is made, as Ray would make it again and again.
                self._work = self._work or self._begin()
                for found in self._work(shard):
                    yield _Part(number, count, found, notes=_taken(caught))
                    count += 1
            except WhichgenError as error:
                yield _Part(number, count, error=error)
            else:
                yield _Part(number, count, notes=_taken(caught))

    def _begin(self) -> Callable[[Shard], Iterator[Any]]:
        job: Job[Any] = ray.get(self._job)
        return job.start(self._cpus)


@contextmanager
def cluster(address: str = "") -> Iterator[None]:
    """A connection to a Ray cluster, ended with the block; there may be one already.

    Parameters
    ----------
    address
        ``auto`` (the one this machine is of), ``host:6379``; empty: what RAY_ADDRESS says, or else
        a cluster of this machine alone, begun here and ended here.

    Raises
    ------
    ClusterError
        There is no cluster at the address, or Ray Data does not work through it.
    """
    if ray.is_initialized():
        yield
        return
    # Ray itself would take any cluster that somebody began on this machine.
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    if where.startswith("ray://"):
        raise ClusterError(
            "Ray Data does not work through ray://. Run the command on the cluster: "
            "ray job submit --address http://HOST:8265 -- whichgen …"
        )
    # Nothing is told to anybody else.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Nor does the user have to read what Ray says to itself.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        host, colon, port = where.rpartition(":")
        if colon and port.isdecimal():  # Ray would try for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        ray.init(
            address=where,
            include_dashboard=False if where == "local" else None,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ClusterError(
            f"no Ray cluster at {where} ({error}). `ray status --address {where}` tells whether "
            "it is there."
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def on_cluster(job: Job[T], shards: Sequence[Shard], workers: Workers) -> Iterator[T]:
    """What a job finds in each shard, as it is found; shards come in any order.

    Raises
    ------
    ClusterError
        The cluster gave up: workers died again and again.
    WhichgenError
        Whatever the job raises.
    """
    reference = ray.put(job)
    left = dict(enumerate(shards))
    seen: dict[int, set[int]] = {number: set() for number in left}
    told: set[str] = set()
    while left:
        ended: set[int] = set()
        for part in _stream(reference, left, workers):
            for note in part.notes:
                if note not in told:
                    warnings.warn(note, WhichgenWarning, stacklevel=2)
                told.add(note)
            if part.error:
                raise part.error
            if part.found is None:
                if len(seen[part.shard]) == part.number:
                    ended.add(part.shard)
            elif part.number not in seen[part.shard]:
                seen[part.shard].add(part.number)
                yield part.found
        if not ended:
            raise ClusterError("no worker came to the end of a shard. Run the same command again.")
        left = {number: shard for number, shard in left.items() if number not in ended}


def _stream(job: Any, shards: Mapping[int, Shard], workers: Workers) -> Iterator[_Part[Any]]:
    """One go through shards."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Each part goes off when it is done, and is not gathered with others first.
    context.target_max_block_size = 1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    cpus, gpus = workers.cpus, _gpus(workers)
    items = [{"number": number, "shard": shard} for number, shard in shards.items()]
    retries = {"max_restarts": -1, "max_task_retries": _RETRIES}
    with warnings.catch_warnings():
        # Ray Data has no other way yet to bound what is tried again.
        warnings.filterwarnings("ignore", message=".*ray_remote_args_fn.*is deprecated")
        blocks = min(len(items), _TASKS)
        dataset = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
            _Worker,
            batch_size=1,
            fn_constructor_args=(job, max(1, int(cpus))),
            compute=ray.data.ActorPoolStrategy(size=min(len(items), _count(workers, gpus))),
            num_cpus=cpus,
            num_gpus=gpus,
            ray_remote_args_fn=lambda: retries,
        )
    try:
        for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
            yield from batch["part"]
    except ray.exceptions.RayError as error:
        why = str(error).strip().splitlines()[-1]
        raise ClusterError(
            f"the cluster gave up ({why}). What was found is kept: run the same command again; if "
            "workers lack memory, with a smaller --batch-size or more --cpus-per-worker."
        ) from error


def _gpus(workers: Workers) -> float:
    return workers.gpus if workers.gpus is not None else float(_resources().get("GPU", 0) > 0)


def _count(workers: Workers, gpus: float) -> int:
    """How many workers there is room for, if it was not said."""
    has = _resources()
    fits = [has.get("CPU", 0) / workers.cpus] if workers.cpus else []
    fits += [has.get("GPU", 0) / gpus] if gpus else []
    room = int(min(fits, default=1))
    count = workers.count or max(1, room)
    if count > room:
        warnings.warn(
            f"{count} workers of {workers.cpus:g} CPUs and {gpus:g} GPUs are asked for, and the "
            f"cluster has room for {room}: others wait until it grows.",
            WhichgenWarning,
            stacklevel=2,
        )
    return count


def _resources() -> dict[str, float]:
    """What all machines of the cluster have together."""
    has: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return has


def _taken(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """The warnings that are for the user, taken off the list."""
    notes = [str(w.message) for w in caught if isinstance(w.message, WhichgenWarning)]
    caught.clear()
    return tuple(notes)
