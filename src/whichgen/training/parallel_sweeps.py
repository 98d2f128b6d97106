"""Hyperparameter sweeps in worker processes, cached on disk.

The metrics of finished sweeps are read from the cache, so that an interrupted run repeats only the
unfinished sweeps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import numpy as np
from joblib import Parallel, delayed
from pydantic import TypeAdapter

from whichgen.deterministic import call_single_threaded
from whichgen.evaluation.predictions import encode_labels
from whichgen.heads.head import HeadMethod, SweepMethod
from whichgen.heads.knn import KnnMethod
from whichgen.io.atomic_writes import is_permission_error, write_text
from whichgen.io.run_metadata import hash_parts
from whichgen.training.selection import SelectionMetrics, sweep_block
from whichgen.training.split_features import FoldTables
from whichgen.version import __version__

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Number of k-NN comparisons that take about a second.
_FEW_COMPARISONS = 3 * 10**7

# Content of a cache file: each hyperparameter value with its metrics.
_METRICS = TypeAdapter(list[tuple[float, SelectionMetrics]])


@dataclass(frozen=True)
class Sweep:
    """Sweep over a head method's hyperparameter values, on one block of one fold.

    Parameters
    ----------
    block
        Index of the block, starting at 0.
    tables
        Feature tables of the fold.
    head_method
        Method that fits the heads, with its grid of hyperparameter values.
    """

    block: int
    tables: FoldTables
    head_method: SweepMethod

    def get_cache_file(self, cache: Path, encoder_key: str) -> Path:
        """Return the path of the cache file, which is named by a hash of the sweep's inputs.

        The inputs include the version of whichgen. ``cache`` is the folder of the cache files, and
        ``encoder_key`` is the key of the encoder
        (:attr:`whichgen.encoders.encoder.Encoder.key`).
        """
        rows = (
            f"{number}\0{sample.origin}\0".encode() + key
            for number, table in enumerate(self.tables[1:])
            for sample, key in zip(table.samples, table.keys, strict=True)
        )
        # The method's repr contains its grid and the settings of its solver.
        settings = (__version__, encoder_key, str(self.block), repr(self.head_method))
        return cache / f"{hash_parts([*settings, *rows])}.json"

    def read_arguments(self) -> tuple[SweepMethod, list[np.ndarray], list[np.ndarray], int]:
        """Read the features, and return the arguments of :func:`sweep_block`.

        Raises
        ------
        StoreError
            The features can't be read.
        """
        origins, *tables = self.tables
        labels = [encode_labels(table.origins, origins) for table in tables[:2]]
        return self.head_method, [t.read_block(self.block) for t in tables], labels, len(origins)


def run_sweeps(
    sweeps: Sequence[Sweep], encoder_key: str, *, cache: Path | None, jobs: int = -1
) -> Iterator[list[tuple[float, SelectionMetrics]]]:
    """Run the sweeps that are not in the cache, and yield the metrics of all sweeps.

    The sweeps run in worker processes (:func:`run_in_processes`). The metrics of each new sweep are
    written to the cache before they are yielded; a read-only cache is not updated.

    Parameters
    ----------
    sweeps
        The sweeps to run.
    encoder_key
        Key of the encoder (:attr:`whichgen.encoders.encoder.Encoder.key`), which is hashed into the
        names of the cache files.
    cache
        Folder of the cache files; ``None`` disables the cache.
    jobs
        Number of processes; -1 for one per core.

    Yields
    ------
    list of (float, SelectionMetrics)
        Each hyperparameter value for which the head can be fitted, with its metrics; one list per
        sweep, in the order of ``sweeps``.

    Raises
    ------
    FitError
        The features are not finite, a known origin has no training image, or no hyperparameter
        value is valid for the number of training images.
    StoreError
        The features can't be read.
    OSError
        A cache file can't be written, for example because the disk is full. A read-only cache is
        not an error.
    """
    files = [sweep.get_cache_file(cache, encoder_key) if cache else None for sweep in sweeps]
    cached_metrics = [_read_metrics(file) for file in files]
    # A generator, because the features of all sweeps may not fit in memory.
    calls = (
        sweep.read_arguments()
        for sweep, metrics in zip(sweeps, cached_metrics, strict=True)
        if not metrics
    )
    results = run_in_processes(sweep_block, calls, jobs=jobs)
    for file, metrics in zip(files, cached_metrics, strict=True):
        result = metrics or next(results)
        if file and not metrics:
            _write_metrics(file, result)
        yield result
    # joblib aborts and warns if its generator is closed before the end.
    next(results, None)


def run_in_processes(
    function: Callable[[*Ts], T], calls: Iterable[tuple[*Ts]], *, jobs: int = -1
) -> Iterator[T]:
    """Yield ``function(*call)`` for each call, in order, from single-threaded worker processes.

    ``jobs`` is the number of processes, -1 for one per core. With ``jobs=1``, the calls run in this
    process, also with a single thread, so that the results do not depend on ``jobs``.

    Raises
    ------
    Exception
        Any error of ``function`` or of the iterator ``calls``.
    """
    parallel = Parallel(n_jobs=jobs, return_as="generator")
    yield from parallel(delayed(call_single_threaded)(function, *call) for call in calls)


def choose_jobs(head_method: HeadMethod, comparisons: int, jobs: int) -> int:
    """Choose the number of processes: 1 for k-NN with few comparisons, otherwise ``jobs``.

    Few comparisons take less time than starting worker processes. ``comparisons`` is the total
    number of comparisons of a query with a training image in all searches.
    """
    return 1 if isinstance(head_method, KnnMethod) and comparisons <= _FEW_COMPARISONS else jobs


def _write_metrics(file: Path, metrics: Sequence[tuple[float, SelectionMetrics]]) -> None:
    try:
        write_text(file, json.dumps(metrics))
    except OSError as error:
        # Ignore a read-only cache, but report a full disk.
        if not is_permission_error(error):
            raise


def _read_metrics(file: Path | None) -> list[tuple[float, SelectionMetrics]]:
    try:
        return _METRICS.validate_json(file.read_bytes()) if file else []
    except (OSError, ValueError):
        return []  # missing or damaged: run the sweep again
