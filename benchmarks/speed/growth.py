"""Measure the growth of CPU time and peak memory with images, origins, sources and blocks.

    python benchmarks/speed/growth.py

Writes ``benchmarks/growth.md`` and ``growth.png`` in about ten minutes. Each point is measured in a
new process with one thread, so that its peak memory does not include that of other points. CPU time
depends little on other processes of the machine. Features are random clusters, as float16 in a
memory-mapped file; their standard deviation decreases from the first to the last dimension.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from whichgen.data.dataset import Sample
from whichgen.data.splits.source_folds import assign_folds
from whichgen.data.splits.split_balance import balance_splits
from whichgen.defaults import SPLIT_FRACTIONS
from whichgen.evaluation.bootstrap import bootstrap_intervals
from whichgen.evaluation.predictions import Predictions
from whichgen.heads.linear import LinearMethod
from whichgen.io.atomic_writes import write_text
from whichgen.io.result_files import Row, format_markdown_table
from whichgen.training.parallel_sweeps import run_in_processes
from whichgen.training.selection import sweep_block

#: Values of C of each fit; each fit starts from the previous solution.
METHOD = LinearMethod((1e-3, 1e-2, 1e-1))

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

#: Function whose time and memory are measured.
Run = Callable[[], object]

TEXT = """# Growth

CPU time and peak memory above the start of the process, with one thread, by `speed/growth.py`.
Exponents are fitted by least squares on logarithms, with 95 % confidence intervals (Student's t).
Images and origins: a linear probe for three values of C, with 768 features of 5 origins (streamed
from 87,000 images on, which bounds memory), and with 256 features of 20,000 images. Sources:
splits, folds and bootstrap of 20,000 images. Blocks: sweeps of three values of C on 5,000 images
with 256 features. {}, {} cores.

{}
{}
![](growth.png)
"""


def measure(run: Run) -> dict[str, float]:
    """Measure the CPU time in seconds and the peak memory above the start in MiB."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak becomes the current memory
    start, memory = time.process_time(), read_peak()
    run()
    return {"seconds": time.process_time() - start, "memory": max(read_peak() - memory, 1)}


def read_peak() -> float:
    """Read the peak memory of this process in MiB."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 2**10


def write_features(file: Path, n: int, d: int, k: int) -> np.ndarray:
    """Write features (n, d) of k origins, and return the origin of each row."""
    rng, labels = np.random.default_rng(0), np.arange(n) % k
    features = rng.standard_normal((n, d), np.float32)
    features += rng.normal(0, 0.4, (k, d)).astype(np.float32)[labels]
    features *= np.logspace(0, -2, d, dtype=np.float32)
    np.save(file, features.astype(np.float16))
    return labels


def prepare_fit(file: Path, n: int, d: int, k: int) -> Run:
    """Return a function that fits a linear probe to n images with d features of k origins."""
    labels = write_features(file, n, d, k)
    features = np.load(file, mmap_mode="r")
    return lambda: list(METHOD.fit_path(features, labels, k, METHOD.values))


def prepare_sweeps(file: Path, blocks: int) -> Run:
    """Return a function that sweeps C on blocks of 5,000 images with 256 features of 5 origins."""
    n, d, k = 5_000, 256, 5
    labels = write_features(file, blocks * n, d, k)[:n]
    features = np.load(file, mmap_mode="r").reshape(blocks, n, d)
    y = np.split(labels, 2)
    calls = ((METHOD, [*np.split(x, 2), x[:0]], y, k) for x in features)
    return lambda: list(run_in_processes(sweep_block, calls, jobs=1))


def prepare_division(file: Path, n_sources: int) -> Run:
    """Return a function that divides 20,000 images by source, and computes bootstrap intervals.

    The images are divided into splits and into folds.
    """
    n, k, rng = 20_000, 5, np.random.default_rng(0)
    sources = rng.permutation(np.arange(n) % n_sources)
    labels = rng.integers(0, k, n)
    origins, names = labels.astype(str), sources.astype(str)
    samples = [Sample(file, *pair) for pair in zip(origins, [""] * n, names, strict=True)]
    probabilities = 0.5 * rng.dirichlet(np.ones(k), n) + 0.5 * np.eye(k)[labels]
    known = Predictions(probabilities, origins, probabilities.max(axis=1), sources=names)
    unknown = Predictions(np.empty((0, k)), origins[:0], np.empty(0), sources=names[:0])
    counts = np.zeros((n_sources, k))
    np.add.at(counts, (sources, labels), 1)

    def run() -> None:
        balance_splits(counts / counts.sum(axis=0), SPLIT_FRACTIONS)
        assign_folds(samples, 10)
        bootstrap_intervals(known, unknown, [str(i) for i in range(k)])

    return run


#: Values of each number, and the function that prepares the measurement of a value.
EXPERIMENTS: dict[str, tuple[tuple[int, ...], Callable[[Path, int], Run]]] = {
    "images": (
        (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000),
        lambda file, n: prepare_fit(file, n, 768, 5),
    ),
    "origins": ((3, 5, 10, 20, 50, 100, 200), lambda file, k: prepare_fit(file, 20_000, 256, k)),
    "sources": ((30, 100, 300, 1_000, 3_000, 10_000), prepare_division),
    "blocks": ((1, 2, 4, 8, 12, 24), prepare_sweeps),
}


def measure_points(name: str) -> list[Row]:
    """Measure all points of an experiment, each in a new process."""
    rows: list[Row] = []
    for value in EXPERIMENTS[name][0]:
        command = [sys.executable, __file__, "--point", name, str(value)]
        point = json.loads(subprocess.check_output(command, env={**os.environ, **ONE_THREAD}))
        rows.append(
            {name: value, "CPU s": round(point["seconds"], 3), "MiB": round(point["memory"])}
        )
        print(rows[-1], flush=True)
    return rows


def fit_exponent(rows: list[Row], name: str, quantity: str) -> str:
    """Fit a power law, and format its exponent with a 95 % confidence interval."""
    points = [(row[name], float(row[quantity])) for row in rows]
    line = stats.linregress(*np.log(points).T)
    half = stats.t.ppf(0.975, len(rows) - 2) * line.stderr
    return f"{line.slope:.2f} ({line.slope - half:.2f} to {line.slope + half:.2f})"


def plot(results: dict[str, list[Row]], file: Path) -> None:
    """Plot time and memory on logarithmic axes."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    for ax, (name, rows) in zip(figure.subplots(2, 2).flat, results.items(), strict=True):
        x = [row[name] for row in rows]
        ax.loglog(x, [float(row["CPU s"]) for row in rows], "o-", color="#0072B2")
        ax.set(xlabel=name, ylim=(0.05, 100))
        ax.set_ylabel("CPU time, s", color="#0072B2")
        memory = ax.twinx()
        memory.loglog(x, [float(row["MiB"]) for row in rows], "s--", color="#D55E00")
        memory.set_ylabel("memory, MiB", color="#D55E00")
        memory.set_ylim(5, 2_000)
    figure.savefig(file, dpi=120)


def main() -> None:
    """Measure all points, and write ``growth.md`` and ``growth.png``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1])
    arguments = parser.parse_args()
    if arguments.point:
        name, value = arguments.point
        with TemporaryDirectory() as folder:
            run = EXPERIMENTS[name][1](Path(folder) / "features.npy", int(value))
            print(json.dumps(measure(run)))
        return
    results = {name: measure_points(name) for name in EXPERIMENTS}
    exponents = [
        {
            "number of": name,
            "measured": f"{rows[0][name]:,} to {rows[-1][name]:,}",
            "exponent of CPU time": fit_exponent(rows, name, "CPU s"),
            "exponent of memory": fit_exponent(rows, name, "MiB"),
        }
        for name, rows in results.items()
    ]
    plot(results, arguments.out / "growth.png")
    tables = "\n".join(map(format_markdown_table, results.values()))
    text = TEXT.format(date.today(), os.cpu_count(), format_markdown_table(exponents), tables)
    write_text(arguments.out / "growth.md", text)


if __name__ == "__main__":
    main()
