"""Where a large collection is worked on: in this process, or on a Ray cluster."""

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

CLUSTER = "Where it runs"
LOCAL, RAY = "local", "ray"

Column = Annotated[
    str, typer.Option(help="Parquet's column of images (default: the one of bytes).")
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine", help="local: this process; ray: a Ray cluster.", rich_help_panel=CLUSTER
    ),
]
WorkerCount = Annotated[
    int,
    typer.Option(
        min=0, help="Ray's workers; 0: as many as there is room for.", rich_help_panel=CLUSTER
    ),
]
WorkerCpus = Annotated[
    float, typer.Option(min=0, help="CPUs of each worker.", rich_help_panel=CLUSTER)
]
WorkerGpus = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="GPUs of each worker; several may share one: 0.25 (default: one if there is any).",
        rich_help_panel=CLUSTER,
    ),
]
Address = Annotated[
    str,
    typer.Option(
        help="The cluster: auto or HOST:6379 (default: RAY_ADDRESS, or else one of this machine "
        "alone).",
        rich_help_panel=CLUSTER,
    ),
]


@dataclass(frozen=True)
class Engine:
    """What the options above say."""

    name: str = LOCAL
    workers: int = 0
    cpus: float = 1
    gpus: float | None = None
    address: str = ""

    def __post_init__(self) -> None:
        if self.name not in (LOCAL, RAY):
            raise DataError(f"engine {self.name!r}: choose {LOCAL} or {RAY}.")
        if self.name == RAY:
            with needs_extra("ray"):
                import ray  # noqa: F401  # told now, not after the sources were listed

    @contextmanager
    def found(
        self,
        shards: Sequence[Shard],
        here: Callable[[], Callable[[Shard], Iterator[T]]],
        job: Callable[[], Job[T]],
    ) -> Iterator[Iterator[T]]:
        """What is found in shards, by ``here()`` in this process or by ``job()`` on the cluster."""
        if self.name == LOCAL:
            work = here()
            yield (part for shard in shards for part in work(shard))
            return
        from whichgen.cluster.pool import Workers, cluster, on_cluster

        with cluster(self.address):
            yield on_cluster(job(), shards, Workers(self.workers, self.cpus, self.gpus))
