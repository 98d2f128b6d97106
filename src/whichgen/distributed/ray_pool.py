"""Process shards with a pool of Ray workers, and collect the results in one process.

Workers do not need a shared disk and do not write files. If a worker dies, Ray processes its shard
again on a new worker and drops duplicate results. Each worker counts the results of each shard, so
that missing and duplicate results are detected.
"""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import ray
import ray.data
import ray.exceptions
import torch

from whichgen.data.shards.find_shards import Shard
from whichgen.errors import ClusterError, WhichgenError, WhichgenWarning
from whichgen.option_names import name_option

T = TypeVar("T")
Result_co = TypeVar("Result_co", covariant=True)

#: Maximum number of times that Ray restarts a task whose worker died. It is limited because the
#: task itself can be the cause, for example if it needs more memory than the worker has.
_RETRIES = 8

#: Maximum number of Ray tasks. With more shards, a task processes several shards, because each task
#: has an overhead.
_MAX_TASKS = 4096


class Job(Protocol[Result_co]):
    """Job that processes shards; sent to each worker once."""

    def start(self) -> Callable[[Shard], Iterator[Result_co]]:
        """Load what the job needs, such as a model, and return a function that processes a shard.

        Each worker calls this method once, and then the returned function for each of its shards.
        The function yields the results of the shard, none of which may be ``None``.
        """
        ...


@dataclass(frozen=True)
class Workers:
    """Number of workers, and number of CPUs and GPUs per worker.

    Parameters
    ----------
    count
        Number of workers; 0 selects as many as the CPUs and GPUs of the cluster allow, but at
        least 1.
    cpus
        Number of CPUs per worker.
    gpus
        Number of GPUs per worker; ``None`` selects 1 if the cluster has GPUs, otherwise 0. With a
        number below 1, such as 0.25, several workers share a GPU and decode images in parallel.
    """

    count: int = 0
    cpus: float = 1
    gpus: float | None = None


@dataclass(frozen=True)
class _Message:
    """Message from a worker: one result of a shard, or a summary after its last result.

    Parameters
    ----------
    result
        The result; ``None`` in a summary. The other fields are set only in a summary.
    error
        The error that stopped the processing of the shard; ``None`` if there was no error.
    count
        Number of results of the shard.
    warnings
        Messages of the warnings that were issued while the shard was processed.
    """

    result: Any = None
    error: WhichgenError | None = None
    count: int = 0
    warnings: tuple[str, ...] = ()


class _Worker:
    """Ray actor that runs one job on one shard at a time."""

    def __init__(self, job: ray.ObjectRef[Any], cpus: int) -> None:
        self._job = job
        self._process: Callable[[Shard], Iterator[Any]] | None = None
        os.environ["OMP_NUM_THREADS"] = str(cpus)  # also limits OpenVINO
        torch.set_num_threads(cpus)

    def __call__(self, batch: Mapping[str, Sequence[Shard]]) -> Iterator[dict[str, list[Any]]]:
        for shard in batch["item"]:
            for message in self._yield_messages(shard):
                yield {"message": [message]}

    def _yield_messages(self, shard: Shard) -> Iterator[_Message]:
        count = 0
        error: WhichgenError | None = None
        with warnings.catch_warnings(record=True) as worker_warnings:
            warnings.simplefilter("always", WhichgenWarning)
            try:
                # Not in __init__, which Ray would retry forever if it failed.
                if self._process is None:
                    job: Job[Any] = ray.get(self._job)
                    self._process = job.start()
                for result in self._process(shard):
                    yield _Message(result)
                    count += 1
            except WhichgenError as worker_error:
                error = worker_error
        texts = [str(w.message) for w in worker_warnings if isinstance(w.message, WhichgenWarning)]
        yield _Message(error=error, count=count, warnings=tuple(texts))


@contextmanager
def connect_to_ray(address: str = "") -> Iterator[None]:
    """Connect to a Ray cluster for the duration of a ``with`` block.

    If this process is already connected, that connection is used regardless of ``address`` and
    stays open.

    Parameters
    ----------
    address
        ``auto`` (the cluster that runs on this machine) or ``HOST:PORT``, such as ``head:6379``. If
        empty, the address is the environment variable ``RAY_ADDRESS``. If the variable is not set
        either, a temporary cluster is started on this machine.

    Raises
    ------
    ClusterError
        The address starts with ``ray://``, which Ray Data does not support; the cluster can't be
        reached; or Ray can't start on this machine.
    """
    if ray.is_initialized():
        yield
        return
    # Use "local" because Ray's default is any cluster that runs on this machine.
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
        if address == "local":
            raise ClusterError(
                f"Ray can't start on this machine ({error}). Check the free memory and disk space, "
                f"or run without Ray ({name_option('--engine local')})."
            ) from None
        raise ClusterError(
            f"can't connect to a Ray cluster at {address} ({error}). Check the address and the "
            f"cluster with `ray status --address {address}`."
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def run_on_cluster(job: Job[T], shards: Sequence[Shard], workers: Workers) -> Iterator[T]:
    """Run a job on all shards, and yield the results in order of arrival.

    Iterate over the results in a :func:`connect_to_ray` block.

    Parameters
    ----------
    job
        The job.
    shards
        The shards, at least one.
    workers
        Number of workers and their resources.

    Yields
    ------
    T
        The results of the job.

    Raises
    ------
    ClusterError
        Ray fails, for example because workers die repeatedly; the job raises an exception other
        than :class:`WhichgenError`; or results are missing or duplicated.
    WhichgenError
        The job raises this error on a worker.

    Warns
    -----
    WhichgenWarning
        The job issues this warning on a worker, or the cluster has too few resources to run all
        workers at the same time.
    """
    counts, n_results = list[int](), 0
    for message in _stream_messages(ray.put(job), shards, workers):
        for text in message.warnings:  # Python shows repeated warnings once
            warnings.warn(text, WhichgenWarning, stacklevel=2)
        if message.error:
            raise message.error
        if message.result is None:
            counts.append(message.count)
        else:
            n_results += 1
            yield message.result
    if len(counts) != len(shards) or sum(counts) != n_results:
        raise ClusterError(
            f"the cluster lost or duplicated results (results: {n_results}, expected: "
            f"{sum(counts)}; completed shards: {len(counts)} of {len(shards)}). Run the same "
            "command again to resume."
        )


def _stream_messages(job: Any, shards: Sequence[Shard], workers: Workers) -> Iterator[_Message]:
    """Process the shards with a pool of workers, and yield the workers' messages as they arrive.

    Raises
    ------
    ClusterError
        Ray fails, for example because workers die repeatedly.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = 1  # send each result as soon as it is computed
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    count, gpus = _size_pool(workers, ray.cluster_resources())  # type: ignore[no-untyped-call]
    n_tasks = min(len(shards), _MAX_TASKS)
    with warnings.catch_warnings():
        # The argument max_task_retries is deprecated but the only way to limit retries.
        warnings.filterwarnings("ignore", message=".*ray_remote_args.* is deprecated")
        dataset = ray.data.from_items(list(shards), override_num_blocks=n_tasks).map_batches(
            _Worker,
            batch_size=1,
            fn_constructor_args=(job, max(1, int(workers.cpus))),
            compute=ray.data.ActorPoolStrategy(size=min(len(shards), count)),
            num_cpus=workers.cpus,
            num_gpus=gpus,
            max_task_retries=_RETRIES,
        )
    try:
        for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
            yield from batch["message"]
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ClusterError(
            f"processing on the Ray cluster failed ({reason}). Run the same command again to "
            "resume. If workers run out of memory, use a smaller "
            f"{name_option('--batch-size')} or more "
            f"{name_option('--cpus-per-worker', 'CPUs per worker')}."
        ) from error


def _size_pool(workers: Workers, resources: Mapping[str, float]) -> tuple[int, float]:
    """Return the number of workers and the number of GPUs per worker.

    Parameters
    ----------
    workers
        The requested number of workers, and CPUs and GPUs per worker.
    resources
        Total numbers of CPUs (key ``CPU``) and GPUs (key ``GPU``) in the cluster.

    Warns
    -----
    WhichgenWarning
        The cluster has too few resources to run all workers at the same time.
    """
    gpus = float(resources.get("GPU", 0) > 0) if workers.gpus is None else workers.gpus
    requirements = {"CPU": workers.cpus, "GPU": gpus}
    n_available = int(
        min(
            (resources.get(name, 0) / n for name, n in requirements.items() if n),
            default=workers.count or 1,
        )
    )
    count = workers.count or max(1, n_available)
    if count > n_available:
        warnings.warn(
            f"the cluster has resources for {n_available} of {count} workers (CPUs per worker: "
            f"{workers.cpus:g}, GPUs per worker: {gpus:g}); the remaining workers wait. Add nodes, "
            "or use fewer workers, or fewer CPUs or GPUs per worker.",
            WhichgenWarning,
            stacklevel=2,
        )
    return count, gpus
