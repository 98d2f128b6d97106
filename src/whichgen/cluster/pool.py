"""Process shards with a pool of Ray Data actors and collect the results in one process.

Workers need no shared disk and write nothing. If a worker dies, Ray starts another one and gives it
the shard again from the beginning. Results are numbered, so the caller gets each of them once; a
shard with a missing result is processed again.
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
Result_co = TypeVar("Result_co", covariant=True)

#: Number of times that a task whose worker died is given to another worker. It is limited because
#: the task itself may kill workers, by lack of memory for example.
_RETRIES = 8

#: Maximum number of Ray tasks, each of which costs bookkeeping; more shards share tasks.
_MAX_TASKS = 4096


class Job(Protocol[Result_co]):
    """The work of a worker, sent to it once."""

    def start(self, cpus: int) -> Callable[[Shard], Iterator[Result_co]]:
        """Prepare to process shards on this number of CPUs."""
        ...


@dataclass(frozen=True)
class Workers:
    """Number and resources of workers.

    Parameters
    ----------
    count
        Number of workers; 0: as many as the cluster has CPUs or GPUs for.
    cpus, gpus
        Resources per worker. Several workers may share a GPU (0.25), so that more processes decode
        for it. ``gpus=None``: 1 if the cluster has GPUs, else 0.
    """

    count: int = 0
    cpus: float = 1
    gpus: float | None = None


@dataclass(frozen=True)
class _Message(Generic[T]):
    """A numbered result of a shard; the message after the last has neither result nor error."""

    shard: int
    number: int
    result: T | None = None
    error: WhichgenError | None = None
    warnings: tuple[str, ...] = ()


class _Worker:
    """Ray actor that runs one job on shard after shard."""

    def __init__(self, job: ray.ObjectRef[Any], cpus: int) -> None:
        self._job, self._cpus = job, cpus
        self._process: Callable[[Shard], Iterator[Any]] | None = None

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, list[Any]]]:
        for number, shard in zip(batch["number"], batch["shard"], strict=True):
            for message in self._messages(int(number), shard):
                yield {"message": [message]}

    def _messages(self, shard_number: int, shard: Shard) -> Iterator[_Message[Any]]:
        number = 0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", WhichgenWarning)
            try:
                if self._process is None:  # not in __init__, which Ray would retry forever
                    job: Job[Any] = ray.get(self._job)
                    self._process = job.start(self._cpus)
                for result in self._process(shard):
                    yield _Message(shard_number, number, result, warnings=_pop_warnings(caught))
                    number += 1
            except WhichgenError as error:
                yield _Message(shard_number, number, error=error)
            else:
                yield _Message(shard_number, number, warnings=_pop_warnings(caught))


@contextmanager
def connect_to_ray(address: str = "") -> Iterator[None]:
    """Connect to a Ray cluster within the block, unless there is a connection already.

    Parameters
    ----------
    address
        ``auto`` (the cluster that this machine belongs to) or ``host:6379``. Empty: RAY_ADDRESS if
        set, otherwise a new cluster on this machine that ends with the block.

    Raises
    ------
    ClusterError
        There is no cluster at the address, or Ray Data does not support it.
    """
    if ray.is_initialized():
        yield
        return
    # "local", because Ray's default is any cluster that someone started on this machine.
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address.startswith("ray://"):
        raise ClusterError(
            "Ray Data does not support ray:// addresses. Run the command on the cluster: "
            "ray job submit --address http://HOST:8265 -- whichgen …"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        host, colon, port = address.rpartition(":")
        if colon and port.isdecimal():  # Ray would retry for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        ray.init(
            address=address,
            include_dashboard=False if address == "local" else None,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ClusterError(
            f"no Ray cluster at {address} ({error}). Check it with "
            f"`ray status --address {address}`."
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def run_on_cluster(job: Job[T], shards: Sequence[Shard], workers: Workers) -> Iterator[T]:
    """Yield the results of a job on all shards as they arrive, in any order of shards.

    Raises
    ------
    ClusterError
        Workers died repeatedly.
    WhichgenError
        Whatever the job raises.
    """
    reference = ray.put(job)
    remaining = dict(enumerate(shards))
    received_parts: dict[int, set[int]] = {number: set() for number in remaining}
    printed_warnings: set[str] = set()
    while remaining:
        completed: set[int] = set()
        for message in _stream(reference, remaining, workers):
            for text in dict.fromkeys(message.warnings):
                if text not in printed_warnings:
                    warnings.warn(text, WhichgenWarning, stacklevel=2)
            printed_warnings.update(message.warnings)
            if message.error:
                raise message.error
            numbers = received_parts[message.shard]
            if message.result is None:
                if len(numbers) == message.number:
                    completed.add(message.shard)
            elif message.number not in numbers:
                numbers.add(message.number)
                yield message.result
        if not completed:
            raise ClusterError("no worker completed a shard. Run the same command again.")
        remaining = {n: shard for n, shard in remaining.items() if n not in completed}


def _stream(job: Any, shards: Mapping[int, Shard], workers: Workers) -> Iterator[_Message[Any]]:
    """Process the shards once."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = 1  # send each result as soon as it is computed
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    has = _cluster_resources()
    gpus = workers.gpus if workers.gpus is not None else float(has.get("GPU", 0) > 0)
    items = [{"number": number, "shard": shard} for number, shard in shards.items()]
    retries = {"max_restarts": -1, "max_task_retries": _RETRIES}
    with warnings.catch_warnings():
        # Deprecated, but the only way to limit retries.
        warnings.filterwarnings("ignore", message=".*ray_remote_args_fn.*is deprecated")
        blocks = min(len(items), _MAX_TASKS)
        dataset = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
            _Worker,
            batch_size=1,
            fn_constructor_args=(job, max(1, int(workers.cpus))),
            compute=ray.data.ActorPoolStrategy(
                size=min(len(items), _count_workers(workers, gpus, has))
            ),
            num_cpus=workers.cpus,
            num_gpus=gpus,
            ray_remote_args_fn=lambda: retries,
        )
    try:
        for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
            yield from batch["message"]
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ClusterError(
            f"the cluster failed ({reason}). Results received so far are kept: run the same "
            "command again. If workers lack memory, use a smaller --batch-size or more "
            "--cpus-per-worker."
        ) from error


def _count_workers(workers: Workers, gpus: float, has: Mapping[str, float]) -> int:
    """Return the number of workers; warn if the cluster has not enough resources for them."""
    limits = [has.get("CPU", 0) / workers.cpus] if workers.cpus else []
    limits += [has.get("GPU", 0) / gpus] if gpus else []
    capacity = int(min(limits, default=1))
    count = workers.count or max(1, capacity)
    if count > capacity:
        warnings.warn(
            f"the cluster has room for {capacity} of {count} workers with {workers.cpus:g} CPUs "
            f"and {gpus:g} GPUs each; the others wait until it grows.",
            WhichgenWarning,
            stacklevel=2,
        )
    return count


def _cluster_resources() -> dict[str, float]:
    has: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return has


def _pop_warnings(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """Remove all warnings from the list and return those for the user."""
    texts = [str(w.message) for w in caught if isinstance(w.message, WhichgenWarning)]
    caught.clear()
    return tuple(texts)
