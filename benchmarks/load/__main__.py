"""Load test of ``whichgen serve``: compare its throughput with that of the bare encoder.

python benchmarks/load                        # ten minutes; writes benchmarks/LOAD.md
python benchmarks/load --seconds 30 --clients 64 --device openvino

This script needs wrk (Debian: apt-get install wrk). Each of ``--clients`` connections sends an
image that is new to the service, waits for the answer, and repeats. If the queue is full, the
service answers with status 503, and wrk repeats the request after the time in ``Retry-After``. At
the end, the service is stopped while requests wait.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import httpx
import numpy as np
from PIL import Image

from whichgen.encoders.loading import load_encoder
from whichgen.io.atomic_writes import write_text
from whichgen.io.result_files import format_markdown_table
from whichgen.io.run_metadata import collect_run_metadata

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo" / "images"
BACKBONE = "efficientnet_lite0"
BATCH = 32

#: Start of a multipart body; ``attribute.lua`` appends the end.
HEAD = b'--LOAD\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'

#: Command that runs the program ``whichgen``.
PROGRAM = [sys.executable, "-c", "from whichgen.cli.app import main; main()"]

#: Number of requests that are sent before the service is stopped.
STOP_REQUESTS = 128


def train_model(folder: Path) -> Path:
    """Train a model on the demo's images, and return its run folder."""
    command = ["linear", "--data", DEMO, "--groups", ROOT / "demo" / "groups.tsv"]
    command += ["--unknown", "vqvae,wgan-gp,flow-matching,vae", "--backbone", BACKBONE]
    command += ["-b", "9", "--device", "cpu", "--output-dir", folder, "--shuffles", "0"]
    subprocess.run([*PROGRAM, *map(str, command)], check=True, stderr=subprocess.DEVNULL)
    return folder / BACKBONE / "images"


def make_jpegs(n: int = 24) -> list[bytes]:
    """Return the contents of n JPEG files of 640 × 480 pixels, made from the demo's images."""
    files = sorted(DEMO.rglob("*.png"))
    contents = []
    for file in files[:: len(files) // n][:n]:
        buffer = io.BytesIO()
        Image.open(file).convert("RGB").resize((640, 480)).save(buffer, "JPEG", quality=90)
        contents.append(buffer.getvalue())
    return contents


def measure_encoder(device: str, seconds: float) -> float:
    """Measure the images per second of the encoder alone, for preprocessed images in batches."""
    encoder = load_encoder(BACKBONE, device=device)
    shape = encoder.preprocess(Image.new("RGB", (64, 64))).shape
    pixels = np.random.default_rng(0).normal(size=(BATCH, *shape)).astype(np.float32)
    encoder.encode(pixels)
    start, images = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        encoder.encode(pixels)
        images += BATCH
    return images / elapsed


@contextmanager
def run_service(model: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the service in the ``with`` block; the value is its address and its process."""
    process = subprocess.Popen(
        [
            *PROGRAM,
            "serve",
            "-m",
            str(model),
            "--port",
            "0",
            "--rate-limit",
            "0",
            "--no-stability",
            *options,
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        for line in process.stderr:
            if address := re.search(r"http://[\w.:]+", line):
                break
        else:
            raise SystemExit(f"The service did not start. Run: whichgen serve -m {model}")
        yield address.group(), process
    finally:
        process.kill()
        process.wait()


def read_memory(pid: int) -> float:
    """Read the resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def read_counter(address: str, name: str) -> float:
    """Read a counter of the service from its metrics."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}[{{ ]", line))


def run_wrk(address: str, pid: int, bodies: list[Path], clients: int, seconds: float) -> dict:
    """Run wrk, and return its results, the number of encoded images and the service's memory.

    ``memory`` contains a pair (seconds, MiB) for each second.
    """
    memory: list[tuple[float, float]] = []
    stop = Event()

    def watch() -> None:
        start = time.perf_counter()
        while not stop.wait(1):
            memory.append((time.perf_counter() - start, read_memory(pid)))

    watcher = Thread(target=watch)
    watcher.start()
    images = read_counter(address, "whichgen_batch_images_sum")
    script = Path(__file__).with_name("attribute.lua")
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--timeout", "120s", "-s", script]
    output = subprocess.run(
        [*map(str, command), address, "--", *map(str, bodies)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    stop.set()
    watcher.join()
    (line,) = re.findall(r"^JSON (.*)$", output, re.MULTILINE)
    images = read_counter(address, "whichgen_batch_images_sum") - images
    return {**json.loads(line), "images": images, "memory": memory}


def stop_service(address: str, process: subprocess.Popen[str], images: list[bytes]) -> dict:
    """Send SIGTERM while requests wait; return the result of each request, and the exit status."""

    def post_image(number: int) -> str:
        data = images[number % len(images)] + b"stop %d" % number
        try:
            response = httpx.post(
                f"{address}/attribute", files={"images": ("a.jpg", data)}, timeout=120
            )
            return str(response.status_code)
        except httpx.HTTPError as error:
            return type(error).__name__

    def count_waiting() -> int:
        return int(read_counter(address, "whichgen_waiting_images"))

    with ThreadPoolExecutor(STOP_REQUESTS) as pool:
        # The last requests of wrk may still be in the queue.
        _wait_until(lambda: count_waiting() == 0)
        requests = [pool.submit(post_image, number) for number in range(STOP_REQUESTS)]
        _wait_until(lambda: count_waiting() >= STOP_REQUESTS // 2)
        waiting = count_waiting()
        process.send_signal(signal.SIGTERM)
        results = [request.result() for request in requests]
    return {"waiting": waiting, "results": Counter(results), "exit": process.wait(120)}


def _wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(
                f"The queue of the service did not reach the expected length in {seconds:.0f} s."
            )
        time.sleep(0.02)


def main() -> None:
    """Run the load test, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600, help="duration")
    parser.add_argument("--clients", type=int, default=320, help="number of connections")
    parser.add_argument("--queue", type=int, default=256, help="--queue-size of the service")
    parser.add_argument("--device", default="cpu", help="device of the encoder")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "LOAD.md")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed. Install it with: apt-get install wrk")
    with TemporaryDirectory() as name:
        folder = Path(name)
        model, images = train_model(folder / "out"), make_jpegs()
        bodies = [folder / f"{i}.body" for i in range(len(images))]
        for body, data in zip(bodies, images, strict=True):
            body.write_bytes(HEAD + data)
        before = measure_encoder(options.device, 10)
        serve = ["--queue-size", str(options.queue), "--device", options.device]
        serve += ["--batch-size", str(BATCH)]
        with run_service(model, *serve) as (address, process):
            load = run_wrk(address, process.pid, bodies, options.clients, options.seconds)
            stop = stop_service(address, process, images)
        after = measure_encoder(options.device, 10)
    text = format_report(options, load, stop, before, after)
    write_text(options.out, text)
    print(text)


def format_counts(counts: dict[str, int]) -> str:
    """Format counts by status, for example ``200: 7, 503: 2``."""
    return ", ".join(f"{status}: {count}" for status, count in sorted(counts.items()))


def format_report(
    options: argparse.Namespace, load: dict, stop: dict, before: float, after: float
) -> str:
    """Return the report in Markdown.

    ``load`` and ``stop`` are the results of :func:`run_wrk` and :func:`stop_service`; ``before``
    and ``after`` are the images per second of the bare encoder before and after the load test.
    """
    machine = collect_run_metadata({}, seeds={}, encoder={}, data_hash="")
    rate, encoder_rate = load["images"] / load["seconds"], (before + after) / 2
    memory = np.array(load["memory"])
    half = memory[len(memory) // 2 :]
    growth = np.polyfit(half[:, 0], half[:, 1], 1)[0] * 600 if len(half) > 2 else float("nan")
    rows = [
        ("duration (s), connections, queue size", f"{load['seconds']:.0f}, {options.clients}, "
         f"{options.queue}"),
        ("requests by status", format_counts(load["statuses"])),
        ("socket errors, timeouts of two minutes", f"{load['socket_errors']}, "
         f"{load['timeouts']}"),
        ("images answered per second", f"{rate:.1f}"),
        ("images per second of the bare encoder, before and after", f"{before:.1f}, {after:.1f}"),
        ("**share of the bare encoder's rate**", f"**{100 * rate / encoder_rate:.0f} %**"),
        ("latency of all responses, p50 / p90 / p99 / maximum, s",
         " / ".join(f"{load[p]:.2f}" for p in ("p50", "p90", "p99", "longest"))),
        ("memory after 10, 50 and 100 % of the time, MiB",
         ", ".join(f"{memory[int(f * (len(memory) - 1)), 1]:.0f}" for f in (0.1, 0.5, 1.0))),
        ("memory growth in the second half, MiB per ten minutes", f"{growth:+.1f}"),
        ("images in the queue at SIGTERM", str(stop["waiting"])),
        (f"results of the last {STOP_REQUESTS} requests", format_counts(stop["results"])),
        ("exit status", str(stop["exit"])),
    ]  # fmt: skip
    return (
        "# The service under overload\n\nWritten by `python benchmarks/load` "
        f"(whichgen {machine['whichgen']}, {machine['time']}, {os.cpu_count()} cores, --device "
        f"{options.device}, EfficientNet-Lite0, one JPEG file of 640 × 480 pixels per request). "
        "wrk, the service and all other processes shared the cores.\n\n"
        + format_markdown_table(
            [{"quantity": quantity, "value": value} for quantity, value in rows]
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
