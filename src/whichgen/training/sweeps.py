"""Hyperparameter sweeps in worker processes, cached on disk.

An interrupted run resumes with the first missing sweep, and a repeated run fits nothing again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from joblib import Parallel, delayed

from whichgen.deterministic import call_single_threaded
from whichgen.heads.base import SweepMethod
from whichgen.io.atomic import is_permission_error, write_text
from whichgen.io.run_metadata import hash_parts
from whichgen.training.selection import Candidate, sweep_block
from whichgen.training.split_features import FoldTables, fold_features
from whichgen.version import __version__

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True)
class Sweep:
    """All hyperparameter values of a head method on one block of one fold."""

    block: int
    known: tuple[str, ...]
    tables: FoldTables
    head_method: SweepMethod

    def cache_file(self, cache: Path, encoder_key: str) -> Path:
        """Return the file of its candidates, named after everything they depend on."""
        rows = (
            f"{number}\0{sample.origin}\0".encode() + key
            for number, table in enumerate(self.tables)
            for sample, key in zip(table.samples, table.keys, strict=True)
        )
        # The method's repr holds its grid and its solver's settings.
        settings = (__version__, encoder_key, str(self.block), repr(self.head_method))
        return cache / f"{hash_parts([*settings, *rows])}.json"


def run_sweeps(
    sweeps: Sequence[Sweep], encoder_key: str, *, cache: Path | None, jobs: int = -1
) -> Iterator[list[Candidate]]:
    """Yield the candidates of each sweep, in order; each is written to ``cache`` at once."""
    files = [sweep.cache_file(cache, encoder_key) if cache else None for sweep in sweeps]
    cached = [_read_candidates(file) for file in files]
    # A generator: features are read when a worker is free, not all at once.
    missing = (
        (sweep.block, sweep.head_method, fold_features(sweep.tables, sweep.known, sweep.block))
        for sweep, candidates in zip(sweeps, cached, strict=True)
        if candidates is None
    )
    results = run_in_processes(sweep_block, missing, jobs=jobs)
    for file, candidates in zip(files, cached, strict=True):
        if candidates is not None:
            yield candidates
            continue
        result = next(results)
        if file is not None:
            _write_candidates(file, result)
        yield result
    next(results, None)  # joblib's generator must be exhausted


def run_in_processes(
    function: Callable[[*Ts], T], calls: Iterable[tuple[*Ts]], *, jobs: int = -1
) -> Iterator[T]:
    """Yield ``function(*call)`` for each call, in order, from single-threaded worker processes.

    BLAS threads do not pay because the matrices are small: on busy cores, threads that wait for
    each other took 25 times as long. ``jobs`` is the number of processes, -1 for one per core; 1 is
    this process, also with one thread, so that a result does not depend on ``jobs``.
    """
    parallel = Parallel(n_jobs=jobs, return_as="generator")
    yield from parallel(delayed(call_single_threaded)(function, *call) for call in calls)


def _write_candidates(file: Path, candidates: Sequence[Candidate]) -> None:
    try:
        write_text(file, json.dumps([asdict(c) for c in candidates]))
    except OSError as error:
        # A read-only cache is fine; a full disk is not.
        if not is_permission_error(error):
            raise


def _read_candidates(file: Path | None) -> list[Candidate] | None:
    try:
        return [Candidate(**row) for row in json.loads(file.read_text("utf-8"))] if file else None
    except (OSError, ValueError, TypeError):
        return None  # missing or damaged: run the sweep again
