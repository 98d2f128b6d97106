"""Sweeps: kept under all that they depend on, in order, by any number of processes."""

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
from whichgen.openset.prediction import fit_and_predict
from whichgen.training.selection import sweep_block
from whichgen.training.split_features import fold_tables
from whichgen.training.sweeps import Sweep, run_in_processes, run_sweeps

from .conftest import KNN, LINEAR

Make = Callable[..., Any]


@pytest.fixture
def sweep(world: Make) -> Sweep:
    """A sweep of block 0."""
    w = world(unknown=("ddpm", "flow"))
    (fold,) = make_protocol(w.dataset).folds
    return Sweep(0, fold.known, fold_tables(w.parts(), fold), KNN)


def test_a_sweep_s_file_is_named_after_all_that_it_depends_on(sweep: Sweep) -> None:
    train, val, unknown = sweep.tables
    relabeled = replace(train, samples=(replace(train.samples[0], origin="x"), *train.samples[1:]))
    variants = [
        sweep,
        replace(sweep, block=1),
        replace(sweep, head_method=LINEAR),
        replace(sweep, head_method=replace(LINEAR, max_iter=2)),
        replace(sweep, head_method=replace(KNN, values=(1, 2))),
        replace(sweep, tables=(train, unknown, val)),
        replace(sweep, tables=(train.take(range(5)), val, unknown)),
        replace(sweep, tables=(relabeled, val, unknown)),
    ]
    cache = Path("cache")
    files = [variant.cache_file(cache, "encoder") for variant in variants]
    assert len({*files, sweep.cache_file(cache, "other encoder")}) == len(variants) + 1
    assert replace(sweep).cache_file(cache, "encoder") == files[0]


@pytest.mark.parametrize("content", ["", "[", "{}x", "null", '[{"block": 0}]', "\udcff", "[1]"])
def test_a_damaged_file_is_swept_anew(sweep: Sweep, tmp_path: Path, content: str) -> None:
    (expected,) = run_sweeps([sweep], "e", cache=tmp_path, jobs=1)
    file = sweep.cache_file(tmp_path, "e")
    file.write_bytes(content.encode(errors="surrogateescape"))
    (found,) = run_sweeps([sweep], "e", cache=tmp_path, jobs=1)
    assert found == expected
    (kept,) = run_sweeps([sweep], "e", cache=tmp_path, jobs=1)
    assert kept == expected


def test_kept_and_missing_sweeps_come_in_the_order_asked_for(sweep: Sweep, tmp_path: Path) -> None:
    wanted = [sweep, replace(sweep, block=1), replace(sweep, head_method=replace(KNN, values=(4,)))]
    expected = [next(run_sweeps([one], "e", cache=None, jobs=1)) for one in wanted]
    list(run_sweeps(wanted[1:2], "e", cache=tmp_path, jobs=1))
    for _ in range(2):
        assert list(run_sweeps(wanted, "e", cache=tmp_path, jobs=1)) == expected
    assert len(list(tmp_path.glob("*.json"))) == 3
    assert list(run_sweeps([], "e", cache=tmp_path, jobs=1)) == []


def test_processes_give_results_in_order_and_no_warning() -> None:
    calls = [(i, 10) for i in range(20)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for jobs in (1, 2):
            assert list(run_in_processes(mul, calls, jobs=jobs)) == [10 * i for i in range(20)]
            assert list(run_in_processes(mul, [], jobs=jobs)) == []


def threads_of(library: str) -> int:
    pools = (pool for pool in threadpool_info() if pool["user_api"] == library)
    return max((int(pool["num_threads"]) for pool in pools), default=1)


def test_whoever_computes_a_result_has_one_thread() -> None:
    with threadpool_limits(2):
        assert threads_of("blas") == 2
        assert list(run_in_processes(threads_of, [("blas",), ("openmp",)], jobs=1)) == [1, 1]
        assert threads_of("blas") == 2


def test_workers_import_no_torch() -> None:
    # joblib's workers import a function's module; its own check takes a torch with CUDA, which
    # comes late, for a leak of memory.
    run = (fit_and_predict, sweep_block, fit_view, call_single_threaded, LINEAR.fit, KNN.fit)
    modules = ", ".join(sorted({function.__module__ for function in run}))
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
