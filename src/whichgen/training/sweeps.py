"""Sweeps of many blocks and folds: in worker processes, and kept on disk when done.

A stopped run goes on where it was, and a second run fits nothing again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from joblib import Parallel, delayed

from whichgen.deterministic import by_one_thread
from whichgen.heads.base import SweepMethod
from whichgen.io.atomic import is_permission_error, write_text
from whichgen.io.run_metadata import hash_parts
from whichgen.training.selection import Candidate, FoldFeatures, sweep_block
from whichgen.training.split_features import FoldTables, fold_features
from whichgen.version import __version__

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True)
class Sweep:
    """One block of one fold, with every value of a head_method's hyperparameter."""

    block: int
    known: tuple[str, ...]
    tables: FoldTables
    head_method: SweepMethod

    def features(self) -> FoldFeatures:
        """The arrays, read from the store."""
        return fold_features(self.tables, self.known, self.block)

    def file(self, cache: Path, encoder_key: str) -> Path:
        """Where its candidates are kept: named after all that they depend on."""
        rows = (
            f"{number}\0{sample.origin}\0".encode() + key
            for number, table in enumerate(self.tables)
            for sample, key in zip(table.samples, table.keys, strict=True)
        )
        # The head_method's repr holds its grid and its solver's settings.
        settings = (__version__, encoder_key, str(self.block), repr(self.head_method))
        return cache / f"{hash_parts([*settings, *rows])}.json"


def run_sweeps(
    sweeps: Sequence[Sweep], encoder_key: str, *, cache: Path | None, jobs: int = -1
) -> Iterator[list[Candidate]]:
    """The candidates of each sweep, in order, each kept in ``cache`` as soon as it is there."""
    files = [sweep.file(cache, encoder_key) if cache else None for sweep in sweeps]
    found = [_read(file) for file in files]
    # A generator: features are read when a worker is free for them, not all at once.
    missing = (
        (sweep.block, sweep.head_method, sweep.features())
        for sweep, kept in zip(sweeps, found, strict=True)
        if kept is None
    )
    fitted = run_in_processes(sweep_block, missing, jobs=jobs)
    for file, kept in zip(files, found, strict=True):
        candidates = kept
        if candidates is None:
            candidates = next(fitted)
            if file is not None:
                _keep(file, candidates)
        yield candidates
    # joblib wants to be asked until it says that there is no more.
    next(fitted, None)


def run_in_processes(
    function: Callable[[*Ts], T], calls: Iterable[tuple[*Ts]], *, jobs: int = -1
) -> Iterator[T]:
    """``function(*call)`` for each call, in order, by worker processes of one thread each.

    Not by BLAS threads, because the matrices are small: on busy cores, threads that wait for each
    other were seen to take 25 times as long. ``jobs`` is their number, -1 for all cores; one is
    this process itself, with one thread, too: a result does not depend on who computed it.
    """
    parallel = Parallel(n_jobs=jobs, return_as="generator")
    yield from parallel(delayed(by_one_thread)(function, *call) for call in calls)


def _keep(file: Path, candidates: Sequence[Candidate]) -> None:
    try:
        write_text(file, json.dumps([asdict(c) for c in candidates]))
    except OSError as error:
        # Of a cache that is there to read only, the features serve; a full disk must be told.
        if not is_permission_error(error):
            raise


def _read(file: Path | None) -> list[Candidate] | None:
    try:
        return [Candidate(**row) for row in json.loads(file.read_text("utf-8"))] if file else None
    except (OSError, ValueError, TypeError):
        # Not there, or damaged: it is run anew.
        return None
