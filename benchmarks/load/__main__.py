"""The service at saturation, from outside, beside what its encoder does alone.

python benchmarks/load                        # ten minutes, into benchmarks/LOAD.md
python benchmarks/load --seconds 30 --clients 64 --device openvino

It needs wrk (Debian: apt-get install wrk). Each of ``--clients`` connections asks about one image
that the service has not seen, waits for the answer, and asks again; where there are more of them
than images may wait, the rest are told to come again, and wrk does as it is told. At the end the
service is stopped while requests wait.
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
from whichgen.io.atomic import write_text
from whichgen.io.result_files import markdown_table
from whichgen.io.run_metadata import collect_run_metadata

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "demo" / "images"
BACKBONE = "efficientnet_lite0"
BATCH = 32
HEAD = b'--LOAD\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'
PROGRAM = [sys.executable, "-c", "from whichgen.cli.app import main; main()"]


def fitted(folder: Path) -> Path:
    """A model of the demo's pack."""
    command = ["linear", "--data", PACK, "--groups", ROOT / "demo" / "groups.tsv"]
    command += ["--unknown", "vqvae,wgan-gp,flow-matching,vae", "--backbone", BACKBONE]
    command += ["-b", "9", "--device", "cpu", "--output-dir", folder, "--shuffles", "0"]
    subprocess.run([*PROGRAM, *map(str, command)], check=True, stderr=subprocess.DEVNULL)
    return folder / BACKBONE / "images"


def photographs(n: int = 24) -> list[bytes]:
    """JPEGs of 640 × 480."""
    found = []
    for file in sorted(PACK.rglob("*.webp"))[:: max(1, len(list(PACK.rglob("*.webp"))) // n)][:n]:
        buffer = io.BytesIO()
        Image.open(file).convert("RGB").resize((640, 480)).save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found


def bare_rate(device: str, seconds: float) -> float:
    """Images a second through the encoder alone, preprocessed, in whole batches."""
    encoder = load_encoder(BACKBONE, device=device)
    shape = encoder.preprocess(Image.new("RGB", (64, 64))).shape
    pixels = np.random.default_rng(0).normal(size=(BATCH, *shape)).astype(np.float32)
    encoder.encode(pixels)
    start, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        encoder.encode(pixels)
        done += BATCH
    return done / passed


@contextmanager
def serving(model: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A running service: its address, and the process."""
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
            if found := re.search(r"http://[\w.:]+", line):
                break
        else:
            raise SystemExit("the service did not start")
        yield found.group(), process
    finally:
        process.kill()
        process.wait()


def resident(pid: int) -> float:
    """MiB of memory that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def counter(address: str, name: str) -> float:
    """A counter of the service."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}[{{ ]", line))


def saturated(address: str, pid: int, bodies: list[Path], clients: int, seconds: float) -> dict:
    """What wrk says, and the service's memory meanwhile."""
    memory: list[tuple[float, float]] = []
    over = Event()

    def watch() -> None:
        start = time.perf_counter()
        while not over.wait(1):
            memory.append((time.perf_counter() - start, resident(pid)))

    watcher = Thread(target=watch)
    watcher.start()
    images, compute = (
        counter(address, n) for n in ("whichgen_batch_images_sum", "whichgen_compute_seconds_total")
    )
    script = Path(__file__).with_name("attribute.lua")
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--timeout", "120s", "-s", script]
    done = subprocess.run(
        [*map(str, command), address, "--", *map(str, bodies)],
        capture_output=True,
        text=True,
        check=True,
    )
    over.set()
    watcher.join()
    (said,) = re.findall(r"^JSON (.*)$", done.stdout, re.MULTILINE)
    found: dict = json.loads(said)
    found["images"] = counter(address, "whichgen_batch_images_sum") - images
    found["compute"] = counter(address, "whichgen_compute_seconds_total") - compute
    found["memory"] = memory
    return found


def stopped(address: str, process: subprocess.Popen[str], images: list[bytes]) -> dict:
    """SIGTERM while requests wait: how each of them ended, and the exit status."""

    def ask(number: int) -> str:
        data = images[number % len(images)] + b"stop %d" % number
        try:
            answer = httpx.post(
                f"{address}/attribute", files={"images": ("a.jpg", data)}, timeout=120
            )
            return str(answer.status_code)
        except httpx.HTTPError as error:
            return type(error).__name__

    with ThreadPoolExecutor(128) as pool:
        # First what wrk left behind is answered or given up.
        _until(lambda: counter(address, "whichgen_waiting_images") == 0)
        asked = [pool.submit(ask, number) for number in range(128)]
        _until(lambda: counter(address, "whichgen_waiting_images") >= 64)
        waiting = counter(address, "whichgen_waiting_images")
        process.send_signal(signal.SIGTERM)
        ends = [one.result() for one in asked]
    return {
        "waiting": int(waiting),
        "ends": {end: ends.count(end) for end in sorted(set(ends))},
        "exit": process.wait(120),
    }


def _until(true: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit("the service is not where it should be by now")
        time.sleep(0.02)


def main() -> None:
    """Runs it and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=320)
    parser.add_argument("--queue", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "LOAD.md")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    with TemporaryDirectory() as name:
        folder = Path(name)
        model, images = fitted(folder / "out"), photographs()
        bodies = []
        for i, data in enumerate(images):
            head = (
                '--LOAD\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'
            )
            bodies.append(folder / f"{i}.body")
            bodies[-1].write_bytes(head.encode() + data)
        before = bare_rate(options.device, 10)
        serve = ["--queue-size", str(options.queue), "--device", options.device]
        serve += ["--batch-size", str(BATCH)]
        with serving(model, *serve) as (address, process):
            found = saturated(address, process.pid, bodies, options.clients, options.seconds)
            end = stopped(address, process, images)
        after = bare_rate(options.device, 10)
    text = written(options, found, end, before, after)
    write_text(options.out, text)
    print(text)


def counts(of: dict[str, int]) -> str:
    """``200: 7, 503: 2``."""
    return ", ".join(f"{what}: {times}" for what, times in sorted(of.items()))


def written(
    options: argparse.Namespace, found: dict, end: dict, before: float, after: float
) -> str:
    """The Markdown of a run."""
    made = collect_run_metadata({}, seeds={}, encoder={}, data_hash="")
    rate, bare = found["images"] / found["seconds"], (before + after) / 2
    memory = np.array(found["memory"])
    half = memory[len(memory) // 2 :]
    growth = np.polyfit(half[:, 0], half[:, 1], 1)[0] * 600 if len(half) > 2 else float("nan")
    rows = [
        ("seconds, connections, queue", f"{found['seconds']:.0f}, {options.clients}, "
         f"{options.queue}"),
        ("requests by status", counts(found["statuses"])),
        ("socket errors, time-outs of two minutes", f"{found['socket_errors']}, "
         f"{found['timeouts']}"),
        ("images answered a second", f"{rate:.1f}"),
        ("the bare encoder, before and after", f"{before:.1f}, {after:.1f}"),
        ("**share of the bare encoder's rate**", f"**{100 * rate / bare:.0f} %**"),
        ("latency of all responses, p50 / p90 / p99 / longest, s",
         " / ".join(f"{found[p]:.2f}" for p in ("p50", "p90", "p99", "longest"))),
        ("memory after a tenth of the time, at half of it, at the end, MiB",
         ", ".join(f"{memory[int(f * (len(memory) - 1)), 1]:.0f}" for f in (0.1, 0.5, 1.0))),
        ("growth in the second half, MiB in ten minutes", f"{growth:+.1f}"),
        ("SIGTERM while so many images waited", str(end["waiting"])),
        ("how the 128 requests of that moment ended", counts(end["ends"])),
        ("exit status", str(end["exit"])),
    ]  # fmt: skip
    return (
        "# The service at saturation\n\nWritten by `python benchmarks/load` "
        f"(whichgen {made['whichgen']}, {made['time']}, {os.cpu_count()} cores, --device "
        f"{options.device}, EfficientNet-Lite0, JPEGs of 640 × 480, one a request). wrk, the "
        "service and what else runs share the cores.\n\n"
        + markdown_table([{"what": what, "found": value} for what, value in rows])
        + "\n"
    )


if __name__ == "__main__":
    main()
