"""Measure time and peak memory of ``whichgen linear`` on many images with cached features.

    python benchmarks/speed/large.py 1000000 /data/large --c-values 3

The images are different PNG files of 8 × 8 random pixels. Their features are not computed but drawn
at random: 768 features per image, with one Gaussian cluster per origin. All other stages read the
files as usual. A second call for the same folder uses the same images. Peak memory is reported for
the largest process, by ``/usr/bin/time -v``, and for all processes together, with shared pages
counted once. Other options are passed to ``whichgen linear``.
"""

from __future__ import annotations

import argparse
import shutil
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from threading import Event, Thread

import numpy as np
from random_clip import write_random_clip

from whichgen.data.images.decoding import hash_image
from whichgen.encoders.loading import load_encoder
from whichgen.features.extraction import FLUSH_ROWS
from whichgen.features.store import FeatureStore, compute_feature_key

KNOWN = ("real", "gen-a", "gen-b", "gen-c", "gen-d")
UNKNOWN = ("new-a", "new-b")
ORIGINS = (*KNOWN, *UNKNOWN)
_SIDE = 8


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode a uint8 array (h, w, 3) as a PNG file."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    height, width, _ = pixels.shape
    rows = np.pad(pixels.reshape(height, -1), ((0, 0), (1, 0)))  # filter type 0
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes(), 1))
        + chunk(b"IEND", b"")
    )


def write_data(folder: Path, n: int) -> None:
    """Write n images, in folders of about 1,400 images, and their features."""
    encoder = load_encoder(write_random_clip(folder / "clip", layers=1), device="cpu")
    store = FeatureStore(folder / "cache" / "features", encoder)
    (dim,) = store.block_dims
    rng = np.random.default_rng(0)
    spread = np.logspace(0, -2, dim)
    centers = rng.normal(0, 0.1, (len(ORIGINS), dim)) * spread
    for start in range(0, n, FLUSH_ROWS):
        size = min(FLUSH_ROWS, n - start)
        pixels = rng.integers(0, 256, (size, _SIDE, _SIDE, 3), dtype=np.uint8)
        files = [encode_png(image) for image in pixels]
        numbers = np.arange(start, start + size)
        for number, data in zip(numbers.tolist(), files, strict=True):
            origin = ORIGINS[number % len(ORIGINS)]
            file = folder / "images" / origin / f"{number // 10**4:03d}" / f"{number:07d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        noise = rng.standard_normal((size, dim), np.float32) * spread
        features = centers[numbers % len(ORIGINS)] + noise
        store.add([compute_feature_key(hash_image(data)) for data in files], [features])


def measure_tree(process: subprocess.Popen[bytes], stop: Event, interval: float = 2.0) -> float:
    """Return the largest sum, in GiB, of the proportional set sizes of a process and its children.

    The sum is measured every ``interval`` seconds until ``stop`` is set.
    """
    peak = 0
    while not stop.wait(interval):
        total, pids = 0, [process.pid]
        while pids:
            folder = Path(f"/proc/{pids.pop()}")
            try:
                total += int((folder / "smaps_rollup").read_text().partition("Pss:")[2].split()[0])
                for task in (folder / "task").iterdir():
                    pids += map(int, (task / "children").read_text().split())
            except (OSError, IndexError):
                continue  # the process has ended
        peak = max(peak, total)
    return peak / 2**20


def main() -> None:
    """Write the data if needed, run the command, and print its time and peak memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=int, help="number of images")
    parser.add_argument("folder", type=Path, help="folder for images, cache and results")
    arguments, options = parser.parse_known_args()
    folder = arguments.folder.resolve()
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_data(folder, arguments.images)
        (folder / "complete").touch()
    shutil.rmtree(folder / "output", ignore_errors=True)
    for name in ("splits", "sweeps"):
        shutil.rmtree(folder / "cache" / name, ignore_errors=True)
    whichgen = [sys.executable, "-m", "whichgen", "linear", "--data", str(folder / "images")]
    whichgen += ["--unknown", ",".join(UNKNOWN), "--unknown-val", UNKNOWN[0]]
    whichgen += ["--samples-per-class", "0", "--backbone", str(folder / "clip")]
    whichgen += ["--cache-dir", str(folder / "cache"), "--output-dir", str(folder / "output")]
    start, stop, peaks = time.perf_counter(), Event(), list[float]()
    process = subprocess.Popen(["/usr/bin/time", "-v", *whichgen, *options])
    watcher = Thread(target=lambda: peaks.append(measure_tree(process, stop)))
    watcher.start()
    process.wait()
    stop.set()
    watcher.join()
    seconds = time.perf_counter() - start
    print(
        f"{arguments.images} images: {seconds:.0f} s, peak memory of all processes together "
        f"{peaks[0]:.2f} GiB"
    )
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
