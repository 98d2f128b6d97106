"""Options for commands that process large collections locally or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeVar

from typer import Argument, Option

from whichgen.cli.console import require_extra

if TYPE_CHECKING:
    from whichgen.data.shards.find_shards import Shard
    from whichgen.distributed.ray_pool import Job

T = TypeVar("T")

CollectionSources = Annotated[
    list[str],
    Argument(help="Files, folders, URLs, @FILE (one path per line), or a dataset string."),
]


@dataclass(frozen=True)
class EngineOptions:
    """Options for reading and processing a large collection.

    Raises
    ------
    DataError
        The engine is ``ray``, but Ray is not installed.
    """

    panel: ClassVar = "Collection and cluster"

    column: Annotated[
        str,
        Option(
            help="Name of the image column in Parquet files.",
            show_default="image, jpg etc. or the only binary column",
        ),
    ] = ""
    engine: Annotated[
        Literal["local", "ray"], Option(help="Run in this process (local) or on a Ray cluster.")
    ] = "local"
    workers: Annotated[
        int, Option(min=0, help="Number of Ray workers; 0: as many as possible.")
    ] = 0
    cpus_per_worker: Annotated[float, Option(min=0, help="Number of CPUs per worker.")] = 1
    gpus_per_worker: Annotated[
        float | None,
        Option(min=0, help="Number of GPUs per worker, e.g. 0.25.", show_default="1 if available"),
    ] = None
    address: Annotated[
        str,
        Option(
            help="Address of the Ray cluster: auto or HOST:PORT.",
            show_default="RAY_ADDRESS or a local cluster",
        ),
    ] = ""

    def __post_init__(self) -> None:
        if self.engine == "ray":
            with require_extra("ray"):
                import ray  # noqa: F401  # fail before the sources are listed

    @contextmanager
    def process(
        self,
        shards: Sequence[Shard],
        job: Job[T],
        run_locally: Callable[[Shard], Iterator[T]] | None = None,
    ) -> Iterator[Iterator[T]]:
        """Yield an iterator that runs a job on each shard and yields the results one by one.

        This is a context manager. It closes the connection to the Ray cluster on exit, unless the
        connection already existed.

        Parameters
        ----------
        shards
            Shards of the collection.
        job
            Computation to run on each shard, in this process or on the Ray cluster.
        run_locally
            Function to call instead of ``job`` if the engine is ``local``; ``None`` to use ``job``.

        Raises
        ------
        ClusterError
            The Ray cluster can't be reached or started, or its address starts with ``ray://``; or,
            from the iterator, the cluster fails.
        WhichgenError
            The job fails: if the engine is ``local``, when the job is started or from the iterator;
            if it is ``ray``, from the iterator.

        Warns
        -----
        WhichgenWarning
            See :func:`~whichgen.distributed.ray_pool.run_on_cluster`.
        """
        if self.engine == "local":
            run = run_locally or job.start()
            yield (result for shard in shards for result in run(shard))
            return
        from whichgen.distributed.ray_pool import Workers, connect_to_ray, run_on_cluster

        with connect_to_ray(self.address):
            workers = Workers(self.workers, self.cpus_per_worker, self.gpus_per_worker)
            yield run_on_cluster(job, shards, workers)
