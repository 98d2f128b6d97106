"""Measure time, memory and recall of gallery indexes with a million vectors.

    python benchmarks/gallery.py RUN --rows 1000000

RUN is the run folder of a model. Each vector is a random convex combination of three exemplars of
one origin plus isotropic noise, whose length is 0.3 times the distance between two of the
exemplars. These vectors are less clustered than those of real images. The queries are drawn in the
same way and are not in the index. Each query is searched alone, in one thread, and the time of the
fastest of three rounds is reported. Writes ``gallery.md``.
"""

from __future__ import annotations

import argparse
import gc
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import faiss
import numpy as np

from whichgen.gallery.index import (
    N_NEIGHBORS,
    IndexKind,
    choose_list_count,
    compute_recall,
    create_index,
    list_efforts,
    read_index,
    search_index,
    write_index,
)
from whichgen.heads.knn import normalize_rows
from whichgen.inference.similar_images import SimilaritySpace
from whichgen.io.result_files import Row, format_markdown_table
from whichgen.models.saved_model import load_model

#: Number of queries for the recall.
QUERIES = 1000

#: Number of queries whose time is measured, and number of rounds.
TIMED_QUERIES, ROUNDS = 100, 3

#: Searches with more effort are not measured.
MAX_EFFORT = 512

#: Number of vectors that are drawn or added to an index at once.
CHUNK_ROWS = 10_000

HEADER = """# Large galleries

Random convex combinations of exemplars of a fusion model plus noise, {dimension} dimensions; they
are less clustered than vectors of real images. {queries} queries, each searched alone in one
thread; time of the fastest of three rounds. Times are relative to the exact search of one query in
the same rows. `effort` is the number of lists searched (ivf). `memory` is that of the build; an
open gallery needs as much memory as its files have bytes. Command: `python benchmarks/gallery.py
RUN`. {machine}, Python {python}, numpy {numpy}, faiss {faiss}; {day}; other processes used the same
cores.

"""


def draw_vectors(space: SimilaritySpace, rows: int, seed: int) -> np.ndarray:
    """Draw unit vectors that resemble a model's exemplars: float32 array (rows, d)."""
    exemplars = space.model.exemplars
    assert exemplars is not None
    vectors, labels = space.exemplars, exemplars.labels
    by_origin = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    rng = np.random.default_rng(seed)
    draws = np.empty((rows, vectors.shape[1]), np.float32)
    for start in range(0, rows, CHUNK_ROWS):
        n = min(CHUNK_ROWS, rows - start)
        triples = [rng.choice(indices, (n, 3)) for indices in by_origin]
        corners = vectors[np.stack(triples)[rng.integers(0, len(triples), n), np.arange(n)]]
        combinations = np.einsum("nc,ncd->nd", rng.dirichlet((1, 1, 1), n), corners)
        distances = np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1)[:, None]
        noise = rng.standard_normal(combinations.shape) * (0.3 / combinations.shape[1] ** 0.5)
        draws[start : start + n] = normalize_rows(combinations + noise * distances)
    return draws


def read_memory() -> int:
    """Read the resident memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def compute_cosines(points: np.ndarray, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Compute the cosines of queries (q, d) and their neighbors in ``rows`` (q, k).

    Returns a float32 array (q, k), with −∞ where a row is negative because the search found too few
    neighbors.
    """
    cosines = np.einsum("qd,qkd->qk", queries, points[rows])
    return np.where(rows >= 0, cosines, -np.inf)


def measure_search(index: Any, queries: np.ndarray, effort: int) -> float:
    """Return the seconds per query of the fastest round."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for query in queries[:TIMED_QUERIES]:
            search_index(index, query[None], N_NEIGHBORS, effort)
        times.append((time.perf_counter() - start) / TIMED_QUERIES)
    return min(times)


def measure_index(
    points: np.ndarray, queries: np.ndarray, nearest: np.ndarray, kind: IndexKind
) -> list[Row]:
    """Return one row per effort, until more effort does not increase recall; times in seconds.

    ``nearest`` contains the cosines of the exact neighbors: float32 array (queries, neighbors).
    """
    rows, dimension = points.shape
    memory_before, start = read_memory(), time.perf_counter()
    index = create_index(kind, (rows, dimension), points.__getitem__, seed=0)
    for first in range(0, rows, CHUNK_ROWS):
        index.add(points[first : first + CHUNK_ROWS])
    build_seconds = time.perf_counter() - start
    gc.collect()
    memory = read_memory() - memory_before
    with tempfile.TemporaryDirectory() as folder:
        write_index(index, kind, Path(folder))
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        start = time.perf_counter()
        read_index(kind, Path(folder), dimension, rows)
        open_seconds = time.perf_counter() - start
    results: list[Row] = []
    previous = 0.0
    for effort in list_efforts(kind, rows):
        neighbors = search_index(index, queries, N_NEIGHBORS, effort)[1]
        recall = compute_recall(compute_cosines(points, queries, neighbors), nearest)
        results.append(
            {
                "rows": f"{rows:,}",
                "kind": kind,
                "lists": choose_list_count(rows) if kind == "ivf" else "",
                "effort": effort or "",
                "build": build_seconds,
                "open": open_seconds,
                "memory, MB": f"{memory / 1e6:.0f}",
                "files, MB": f"{size / 1e6:.0f}",
                "search": measure_search(index, queries, effort),
                "recall@1, %": f"{100 * recall.at_1:.1f}",
                "recall@10, %": f"{100 * recall.at_10:.1f}",
            }
        )
        gain = recall.at_10 - previous
        previous = recall.at_10
        if previous >= 0.999 or gain < 0.001 or effort >= MAX_EFFORT:
            break
    return results


def format_times(row: Row, exact: float) -> Row:
    """Format the times of a row relative to ``exact``, the seconds of an exact search."""
    return row | {
        "build": f"{row['build'] / exact:.0f} ×",
        "open": f"{row['open'] / exact:.1f} ×",
        "search": f"1/{exact / row['search']:.1f}",
    }


def main() -> None:
    """Measure all kinds of index, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder of a model")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument(
        "--kinds", nargs="+", default=get_args(IndexKind), help="kinds of index, flat first"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("gallery.md"))
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    space = SimilaritySpace(load_model(arguments.run))
    queries = draw_vectors(space, QUERIES, seed=1)
    table: list[Row] = []
    for rows in arguments.rows:
        points = draw_vectors(space, rows, seed=0)
        metric, exact_seconds = faiss.METRIC_INNER_PRODUCT, 0.0
        nearest, _ = faiss.knn(queries, points, N_NEIGHBORS, metric=metric)
        for kind in arguments.kinds:
            # A new process, so that its memory does not include that of other indexes.
            with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
                by_effort = pool.submit(measure_index, points, queries, nearest, kind).result()
            exact_seconds = exact_seconds or by_effort[0]["search"]
            table += [format_times(row, exact_seconds) for row in by_effort]
            print(format_markdown_table(table), flush=True)
    header = HEADER.format(
        dimension=space.dimension,
        queries=QUERIES,
        machine=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        numpy=np.__version__,
        faiss=faiss.__version__,
        day=datetime.now(UTC).date(),
    )
    arguments.out.write_text(header + format_markdown_table(table), encoding="utf-8")


if __name__ == "__main__":
    main()
