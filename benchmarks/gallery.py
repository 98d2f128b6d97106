"""How galleries of a million images are searched: time, memory and recall by kind of index.

    python benchmarks/gallery.py RUN --rows 1000000

RUN is a fitted model. A vector is drawn between three of the model's exemplars of one origin, with
even weights, and moved by noise, in all directions alike, 0.3 times as long as the exemplars are
apart: of the dimension that the model compares by, and less in clumps than images are. The queries
are drawn in the same way and are not in the index. A search is of one query at a time, in one
thread, the fastest of three rounds. Writes ``gallery.md``.
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
from whichgen.inference.neighbors import SimilaritySpace
from whichgen.io.result_files import Row, markdown_table
from whichgen.models.saved_model import load_model

QUERIES = 1000
#: Queries whose time is taken, one at a time, and how often.
TIMED, ROUNDS = 100, 3
MOST_EFFORT = 512
STEP = 10_000

HEADER = """# Large galleries

Vectors of {dimension} dimensions, drawn between exemplars of a fused model by `gallery.py`, less
in clumps than images are; {queries} queries, one at a time, in one thread, the fastest of three
rounds. `building` and `opening` take as long as so many exact searches of the same rows, `search`
this share of one. `effort`: lists searched (ivf). `memory`: while it is
built; once opened, a gallery takes what its files take. {machine}, Python {python}, numpy {numpy},
faiss {faiss}; {day}; other work on the same cores.

"""


def drawn(space: SimilaritySpace, rows: int, seed: int) -> np.ndarray:
    """Unit vectors like those of the model's exemplars: float32 array (rows, d)."""
    kept = space.model.exemplars
    assert kept is not None
    known = space.exemplars
    of_origin = [np.flatnonzero(kept.labels == label) for label in np.unique(kept.labels)]
    rng = np.random.default_rng(seed)
    out = np.empty((rows, known.shape[1]), np.float32)
    for start in range(0, rows, STEP):
        n = min(STEP, rows - start)
        chosen = [rng.choice(numbers, (n, 3)) for numbers in of_origin]
        corners = known[np.stack(chosen)[rng.integers(0, len(chosen), n), np.arange(n)]]
        mixed = np.einsum("nc,ncd->nd", rng.dirichlet((1, 1, 1), n), corners)
        apart = np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1)[:, None]
        noise = rng.standard_normal(mixed.shape) * (0.3 / mixed.shape[1] ** 0.5)
        out[start : start + n] = normalize_rows(mixed + noise * apart)
    return out


def resident() -> int:
    """Bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def true_cosines(points: np.ndarray, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Those of what was found, -inf where nothing was."""
    found = np.einsum("qd,qkd->qk", queries, points[rows])
    return np.where(rows >= 0, found, -np.inf)


def seconds_per_query(index: Any, queries: np.ndarray, effort: int) -> float:
    """The fastest of three rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for query in queries[:TIMED]:
            search_index(index, query[None], N_NEIGHBORS, effort)
        times.append((time.perf_counter() - start) / TIMED)
    return min(times)


def measured(
    points: np.ndarray, queries: np.ndarray, nearest: np.ndarray, kind: IndexKind
) -> list[Row]:
    """A row for each effort of a kind, until looking longer finds no more; times in seconds."""
    rows, dimension = points.shape
    before, start = resident(), time.perf_counter()
    index = create_index(kind, (rows, dimension), points.__getitem__, seed=0)
    for first in range(0, rows, STEP):
        index.add(points[first : first + STEP])
    built = time.perf_counter() - start
    gc.collect()
    held = resident() - before
    with tempfile.TemporaryDirectory() as folder:
        write_index(index, kind, Path(folder))
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        start = time.perf_counter()
        read_index(kind, Path(folder), dimension, rows)
        opened = time.perf_counter() - start
    found: list[Row] = []
    last = 0.0
    for effort in list_efforts(kind, rows):
        recall = compute_recall(
            true_cosines(points, queries, search_index(index, queries, N_NEIGHBORS, effort)[1]),
            nearest,
        )
        found.append(
            {
                "rows": f"{rows:,}",
                "kind": kind,
                "lists": choose_list_count(rows) if kind == "ivf" else "",
                "effort": effort or "",
                "building": built,
                "opening": opened,
                "memory, MB": f"{held / 1e6:.0f}",
                "files, MB": f"{size / 1e6:.0f}",
                "search": seconds_per_query(index, queries, effort),
                "recall@1, %": f"{100 * recall.at_1:.1f}",
                "recall@10, %": f"{100 * recall.at_10:.1f}",
            }
        )
        gained = recall.at_10 - last
        last = recall.at_10
        if last >= 0.999 or gained < 0.001 or effort >= MOST_EFFORT:
            break
    return found


def as_ratios(row: Row, exact: float) -> Row:
    """Times as multiples of an exact search's, of a search what it is faster by."""
    return row | {
        "building": f"{row['building'] / exact:.0f} ×",
        "opening": f"{row['opening'] / exact:.1f} ×",
        "search": f"1/{exact / row['search']:.1f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", default=get_args(IndexKind), help="flat first")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("gallery.md"))
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    space = SimilaritySpace(load_model(arguments.run))
    queries = drawn(space, QUERIES, seed=1)
    found: list[Row] = []
    for rows in arguments.rows:
        points = drawn(space, rows, seed=0)
        metric, unit = faiss.METRIC_INNER_PRODUCT, 0.0
        nearest, _ = faiss.knn(queries, points, N_NEIGHBORS, metric=metric)
        for kind in arguments.kinds:
            # A process of its own: what another index held is no part of its memory.
            with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
                by_effort = pool.submit(measured, points, queries, nearest, kind).result()
            unit = unit or by_effort[0]["search"]
            found += [as_ratios(row, unit) for row in by_effort]
            print(markdown_table(found), flush=True)
    header = HEADER.format(
        dimension=space.dimension,
        queries=QUERIES,
        machine=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        numpy=np.__version__,
        faiss=faiss.__version__,
        day=datetime.now(UTC).date(),
    )
    arguments.out.write_text(header + markdown_table(found), encoding="utf-8")


if __name__ == "__main__":
    main()
