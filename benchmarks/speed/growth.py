"""Time and peak memory of fitting against the number of images and of origins.

    python benchmarks/speed/growth.py      # benchmarks/growth.md and growth.png; an hour or so

Each point is a process of its own, so that its peak memory is its own. Features are float16 in a
memory map on disk, as many as asked: origins are clusters that overlap, in 768 dimensions whose
spread falls as that of an encoder's does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure

from whichgen.heads.linear import LinearMethod
from whichgen.io.atomic import write_text
from whichgen.io.tables import Row, markdown_table

#: Images × dimensions, origins.
BY_IMAGES = [(1_000, 768, 5), (10_000, 768, 5), (100_000, 768, 5), (1_000_000, 768, 5)]
BY_ORIGINS = [(20_000, 256, k) for k in (2, 10, 100, 1_000)]

#: A path of three values, each from the one before.
VALUES = (1e-3, 1e-2, 1e-1)

_ROWS = 50_000


def write_features(file: Path, n: int, d: int, k: int) -> None:
    """Writes made-up features (n, d) and their origins, piece by piece."""
    rng = np.random.default_rng(0)
    spread = np.logspace(0, -2, d)
    centers = rng.normal(0, 0.4, (k, d)) * spread
    features = np.lib.format.open_memmap(file, "w+", np.float16, (n, d))
    labels = np.arange(n) % k
    for start in range(0, n, _ROWS):
        rows = slice(start, min(start + _ROWS, n))
        noise = rng.standard_normal((rows.stop - start, d), np.float32) * spread
        features[rows] = centers[labels[rows]] + noise
    features.flush()
    np.save(file.with_suffix(".labels.npy"), labels)


def point(file: Path) -> dict[str, float]:
    """Seconds of a fit, and the process's peak memory in GiB, before it and after."""
    features = np.load(file, mmap_mode="r")
    labels = np.load(file.with_suffix(".labels.npy"))
    before = _peak()
    start = time.perf_counter()
    for _ in LinearMethod(VALUES).fit_path(features, labels, int(labels.max()) + 1, VALUES):
        pass
    return {"seconds": time.perf_counter() - start, "peak": _peak(), "start": before}


def _peak() -> float:
    # Not getrusage's: that begins with the peak of the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def measure(points: list[tuple[int, int, int]]) -> list[Row]:
    """A row for each point."""
    rows: list[Row] = []
    for n, d, k in points:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "features.npy"
            write_features(file, n, d, k)
            done = subprocess.run(
                [sys.executable, __file__, str(file)], capture_output=True, text=True, check=True
            )
        found = json.loads(done.stdout)
        rows.append(
            {
                "images": n,
                "dimensions": d,
                "origins": k,
                "seconds": f"{found['seconds']:.3g}",
                "peak memory, GiB": f"{found['peak']:.2f}",
                "of it before the fit": f"{found['start']:.2f}",
            }
        )
        print(rows[-1], flush=True)
    return rows


def plot(by_images: list[Row], by_origins: list[Row], file: Path) -> None:
    """Both, log–log."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for ax, rows, x in zip(
        figure.subplots(1, 2), (by_images, by_origins), ("images", "origins"), strict=True
    ):
        at = [row[x] for row in rows]
        ax.loglog(at, [float(row["seconds"]) for row in rows], "o-", color="#0072B2")
        ax.set_xlabel(x)
        ax.set_ylabel("seconds", color="#0072B2")
        memory = ax.twinx()
        memory.loglog(at, [float(row["peak memory, GiB"]) for row in rows], "s--", color="#D55E00")
        memory.set_ylabel("peak memory, GiB", color="#D55E00")
        memory.axhline(4, color="#D55E00", lw=0.6, ls=":")
        memory.set_ylim(0.1, 10)
        memory.yaxis.set_major_formatter("{x:g}")
    figure.savefig(file, dpi=120)


def main() -> None:
    """All points, into ``growth.md`` and ``growth.png``; with a file, that point alone, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1])
    given = parser.parse_args()
    if given.file:
        print(json.dumps(point(given.file)))
        return
    by_images, by_origins = measure(BY_IMAGES), measure(BY_ORIGINS)
    plot(by_images, by_origins, given.out / "growth.png")
    write_text(
        given.out / "growth.md",
        "# Growth\n\nA linear probe for three values of C; features are float16 on disk.\n\n"
        f"{markdown_table(by_images)}\n{markdown_table(by_origins)}\n![](growth.png)\n",
    )


if __name__ == "__main__":
    main()
