"""Options of commands for large collections, which run in this process or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from whichgen.cli.console import needs_extra
from whichgen.errors import DataError

if TYPE_CHECKING:
    from whichgen.cluster.pool import Job
    from whichgen.data.shards import Shard

T = TypeVar("T")

LOCAL, RAY = "local", "ray"
_PANEL = "Cluster"

Sources = Annotated[
    list[str],
    typer.Argument(
        help="Files or folders of images, .tar or .parquet (also s3://BUCKET/PREFIX, "
        "hf://datasets/OWNER/NAME), @FILE with one per line, or a dataset name."
    ),
]


@dataclass(frozen=True)
class EngineOptions:
    """How a collection is read and where it is processed."""

    column: Annotated[str, typer.Option(help="Image column of Parquet files.")] = ""
    engine: Annotated[
        str, typer.Option(help="local (this process) or ray.", rich_help_panel=_PANEL)
    ] = LOCAL
    workers: Annotated[
        int, typer.Option(min=0, help="Ray workers; 0: as many as fit.", rich_help_panel=_PANEL)
    ] = 0
    cpus_per_worker: Annotated[
        float, typer.Option(min=0, help="CPUs per worker.", rich_help_panel=_PANEL)
    ] = 1
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="GPUs per worker, e.g. 0.25.",
            show_default="1 if available",
            rich_help_panel=_PANEL,
        ),
    ] = None
    address: Annotated[
        str,
        typer.Option(
            help="Ray cluster: auto or HOST:6379.",
            show_default="RAY_ADDRESS, or start one here",
            rich_help_panel=_PANEL,
        ),
    ] = ""

    def __post_init__(self) -> None:
        if self.engine not in (LOCAL, RAY):
            raise DataError(f"--engine {self.engine!r} is unknown. Choose {LOCAL} or {RAY}.")
        if self.engine == RAY:
            with needs_extra("ray"):
                import ray  # noqa: F401  # fail before the sources are listed

    @contextmanager
    def process(
        self,
        shards: Sequence[Shard],
        local: Callable[[], Callable[[Shard], Iterator[T]]],
        job: Callable[[], Job[T]],
    ) -> Iterator[Iterator[T]]:
        """Process shards with ``local()`` in this process, or with ``job()`` on the cluster."""
        if self.engine == LOCAL:
            work = local()
            yield (part for shard in shards for part in work(shard))
            return
        from whichgen.cluster.pool import Workers, cluster, on_cluster

        with cluster(self.address):
            workers = Workers(self.workers, self.cpus_per_worker, self.gpus_per_worker)
            yield on_cluster(job(), shards, workers)
