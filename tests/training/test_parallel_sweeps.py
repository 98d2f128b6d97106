"""Sweeps: cached by data and settings, in order, in any number of processes."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from operator import mul
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from whichgen.deterministic import call_single_threaded
from whichgen.evaluation.protocols import make_protocol
from whichgen.heads.fusion import fit_view
from whichgen.openset.predict import fit_and_predict
from whichgen.training.parallel_sweeps import Sweep, choose_jobs, run_in_processes, run_sweeps
from whichgen.training.selection import sweep_block
from whichgen.training.split_features import FoldTables, select_fold_tables

from .conftest import KNN, LINEAR

Make = Callable[..., Any]


@pytest.fixture
def sweep(world: Make) -> Sweep:
    """A sweep of block 0."""
    w = world(unknown=("ddpm", "flow"))
    (fold,) = make_protocol(w.dataset).folds
    return Sweep(0, select_fold_tables(w.extract(), fold), KNN)


def test_cache_file_depends_on_data_and_settings(sweep: Sweep) -> None:
    origins, train, val, unknown = sweep.tables
    relabeled = replace(train, samples=(replace(train.samples[0], origin="x"), *train.samples[1:]))
    variants = [
        sweep,
        replace(sweep, block=1),
        replace(sweep, head_method=LINEAR),
        replace(sweep, head_method=replace(LINEAR, max_iter=2)),
        replace(sweep, head_method=replace(KNN, values=(1, 2))),
        replace(sweep, tables=FoldTables(origins, train, unknown, val)),
        replace(sweep, tables=FoldTables(origins, train.take(range(5)), val, unknown)),
        replace(sweep, tables=FoldTables(origins, relabeled, val, unknown)),
    ]
    cache = Path("cache")
    files = [variant.get_cache_file(cache, "encoder") for variant in variants]
    assert len({*files, sweep.get_cache_file(cache, "other encoder")}) == len(variants) + 1
    assert replace(sweep).get_cache_file(cache, "encoder") == files[0]


@pytest.mark.parametrize("content", ["", "[", "{}x", "null", '[{"block": 0}]', "\udcff", "[1]"])
def test_damaged_cache_file_is_replaced(sweep: Sweep, tmp_path: Path, content: str) -> None:
    (expected,) = run_sweeps([sweep], "e", cache=tmp_path, jobs=1)
    file = sweep.get_cache_file(tmp_path, "e")
    file.write_bytes(content.encode(errors="surrogateescape"))
    for _ in range(2):
        assert list(run_sweeps([sweep], "e", cache=tmp_path, jobs=1)) == [expected]


def test_cached_and_new_sweeps_keep_their_order(sweep: Sweep, tmp_path: Path) -> None:
    sweeps = [sweep, replace(sweep, block=1), replace(sweep, head_method=replace(KNN, values=(4,)))]
    expected = [next(run_sweeps([one], "e", cache=None, jobs=1)) for one in sweeps]
    list(run_sweeps(sweeps[1:2], "e", cache=tmp_path, jobs=1))
    for _ in range(2):
        assert list(run_sweeps(sweeps, "e", cache=tmp_path, jobs=1)) == expected
    assert len(list(tmp_path.glob("*.json"))) == 3
    assert list(run_sweeps([], "e", cache=tmp_path, jobs=1)) == []


def test_processes_return_results_in_order_without_warnings() -> None:
    calls = [(i, 10) for i in range(20)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for jobs in (1, 2):
            assert list(run_in_processes(mul, calls, jobs=jobs)) == [10 * i for i in range(20)]
            assert list(run_in_processes(mul, [], jobs=jobs)) == []


def test_only_quick_searches_of_neighbors_start_no_processes() -> None:
    assert [choose_jobs(KNN, count, -1) for count in (0, 10**6, 10**9)] == [1, 1, -1]
    assert choose_jobs(LINEAR, 10, 2) == 2


def count_threads(library: str) -> int:
    pools = (pool for pool in threadpool_info() if pool["user_api"] == library)
    return max((int(pool["num_threads"]) for pool in pools), default=1)


def count_loaded_threads(_: int) -> int:
    """Count threads after a library was loaded by the call itself, as late imports do."""
    import sklearn.cluster  # noqa: F401

    return max(int(pool["num_threads"]) for pool in threadpool_info())


def test_workers_are_single_threaded() -> None:
    with threadpool_limits(2):
        assert count_threads("blas") == 2
        assert list(run_in_processes(count_threads, [("blas",), ("openmp",)], jobs=1)) == [1, 1]
        assert count_threads("blas") == 2
        assert list(run_in_processes(count_loaded_threads, [(0,), (1,)], jobs=2)) == [1, 1]


def test_workers_import_no_torch() -> None:
    # joblib's workers import a function's module, and take a late import of torch with CUDA for a
    # memory leak.
    functions = (fit_and_predict, sweep_block, fit_view, call_single_threaded, LINEAR.fit, KNN.fit)
    modules = ", ".join(sorted({function.__module__ for function in functions}))
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
