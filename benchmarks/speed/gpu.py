"""A GPU: CLIP ViT-B/16 in shares of the measured bfloat16 matrix peak, and decoding apart from it.

python benchmarks/speed/gpu.py --out benchmarks/RESULTS-GPU.md --json gpu.json
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from random_clip import clip_b16

from whichgen.atomic import write_text
from whichgen.data.images import decode
from whichgen.data.samples import Sample
from whichgen.encoders.compiled import OPTIONS, compiled
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.gpu import CudaGraph, Forward, GpuEncode
from whichgen.encoders.load import load_encoder
from whichgen.features.extract import extract
from whichgen.features.store import FeatureStore
from whichgen.report.tables import Row, markdown_table

LIBRARIES = ("torch", "torchvision", "transformers", "numpy", "pillow")
CORES = os.cpu_count() or 1
SIDE = 224
#: Images of the passes whose batch is not what is measured.
BATCH = 256


def operations(patch: int = 16, width: int = 768, blocks: int = 12) -> int:
    """Floating-point operations of a ViT for one image, a multiplication and its addition as two.

    35.1e9 for ViT-B/16: the patches, each block's projections and MLP, and attention.
    """
    patches = (SIDE // patch) ** 2
    tokens = patches + 1
    block = 12 * tokens * width**2 + 2 * tokens**2 * width
    return 2 * (patches * 3 * patch**2 * width + blocks * block)


def seconds(call: Callable[[], Any], *, window: float = 0.2, repeats: int = 5) -> float:
    """The time of a call: the median of windows of many calls, after some to warm up."""

    def timed(times: int) -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(times):
            call()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / times

    timed(3)
    times = max(1, round(window / timed(1)))
    return statistics.median(timed(times) for _ in range(repeats))


class Table:
    """Rows in one form, printed as they come."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.peak = float("nan")

    def add(
        self,
        what: str,
        kind: str = "",
        batch: int | str = "",
        rate: float = float("nan"),
        *,
        share: bool = False,
        note: str = "",
    ) -> None:
        """A row; ``rate`` in images a second, ``share`` if it is one of the GPU's own work."""
        self.rows.append(
            {
                "what": what,
                "type": kind,
                "images at once": batch,
                "images/s": "" if np.isnan(rate) else f"{rate:.0f}",
                "share of peak, %": f"{100 * rate * operations() / self.peak:.1f}" if share else "",
                "note": note,
            }
        )
        print(" | ".join(str(value) for value in self.rows[-1].values()), flush=True)


def matrix_products(table: Table, sides: Sequence[int] = (4096, 8192, 16384)) -> None:
    """The peak: the best square, on random data."""
    rates = []
    for n in sides:
        a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        rates.append(2 * n**3 / seconds(lambda a=a, b=b: a @ b))
        table.add(f"matrix product of {n}", "bfloat16", note=f"{rates[-1] / 1e12:.0f} TFLOP/s")
    table.peak = max(rates)


def recorded(forward: Forward, batch: torch.Tensor) -> Callable[[], torch.Tensor]:
    """A pass as a CUDA graph."""
    graph = CudaGraph(lambda x: torch.cat([b.float() for b in forward(x)], dim=1), batch)
    return lambda: graph(batch)


def network(table: Table, encoder: Encoder, batches: Sequence[int]) -> None:
    """Passes alone, of batches that lie on the GPU."""
    forward = encoder.encode.forward  # type: ignore[attr-defined]
    for n in batches:
        batch = _on_gpu(n, encoder)
        rate = n / seconds(lambda batch=batch: forward(batch))
        table.add("network", encoder.dtype, n, rate, share=True)
        rate = n / seconds(recorded(forward, batch))
        table.add("network, CUDA graph", encoder.dtype, n, rate, share=True)


def network_compiled(
    table: Table, what: str, encoder: Encoder, batch_size: int, options: dict[str, Any]
) -> None:
    """The same, compiled."""
    batch = _on_gpu(batch_size, encoder)
    own = encoder.encode.forward  # type: ignore[attr-defined]
    start = time.perf_counter()
    call = recorded(torch.compile(own, dynamic=False, options=options), batch)
    note = f"compiled in {time.perf_counter() - start:.0f} s"
    rate = batch_size / seconds(call)
    table.add(
        f"network, CUDA graph, {what}", encoder.dtype, batch_size, rate, share=True, note=note
    )


def network_tf32(table: Table, encoder: Encoder) -> None:
    """The same at a precision that whichgen does not offer, for comparison."""
    torch.set_float32_matmul_precision("high")
    call = recorded(encoder.encode.forward, _on_gpu(BATCH, encoder))  # type: ignore[attr-defined]
    table.add("network, CUDA graph", "TF32", BATCH, BATCH / seconds(call), share=True)
    torch.set_float32_matmul_precision("highest")


def _on_gpu(n: int, encoder: Encoder) -> torch.Tensor:
    return torch.randn(n, 3, SIDE, SIDE, device="cuda", dtype=encoder.encode.dtype)  # type: ignore[attr-defined]


def from_memory(table: Table, what: str, encoder: Encoder, batches: Sequence[int]) -> None:
    """``Encoder.encode``: preprocessed images in the host's memory to features there."""
    for n in batches:
        pixels = _pixels(n)
        rate = n / seconds(lambda pixels=pixels: encoder.encode(pixels))
        table.add(what, encoder.dtype, n, rate, share=True)


def _pixels(n: int) -> np.ndarray:
    some = np.random.default_rng(n).standard_normal((min(n, 256), 3, SIDE, SIDE), np.float32)
    return np.resize(some, (n, *some.shape[1:]))


def agreement(table: Table, exact: Encoder, encoders: dict[str, Encoder], n: int = 16) -> None:
    """How far features are from the CPU's in float32: the worst vector, relative to its length."""
    pixels = _pixels(n)
    right = exact.encode(pixels)
    for what, encoder in encoders.items():
        encoder.encode(pixels)
        worst = max(
            float((np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max())
            for a, b in zip(encoder.encode(pixels), right, strict=True)
        )
        table.add(f"features of {what}", encoder.dtype, n, note=f"off the CPU's by {worst:.0e}")


def photographs(n: int) -> list[bytes]:
    """JPEG files, 512 × 512, quality 90: colours that change slowly, and grain."""

    def make(seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        colours = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        smooth = np.asarray(colours.resize((512, 512), Image.Resampling.BICUBIC), np.float32)
        grain = rng.normal(0, 4, (512, 512, 1))
        file = io.BytesIO()
        picture = Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))
        picture.save(file, "JPEG", quality=90)
        return file.getvalue()

    with ThreadPoolExecutor(CORES) as pool:
        return list(pool.map(make, range(n)))


def decoding(table: Table, encoder: Encoder, files: Sequence[bytes]) -> None:
    """Of JPEG files in memory: by Pillow as whichgen does, and by the GPU."""
    size = f"{np.mean([len(file) for file in files]) / 1024:.0f} KiB a file"

    def prepare(file: bytes) -> np.ndarray:
        return encoder.preprocess(decode(file))

    for what, work in (("decode", decode), ("decode and preprocess", prepare)):
        for threads in (1, 4, CORES):
            some = files[: 64 if threads == 1 else len(files)]
            with ThreadPoolExecutor(threads) as pool:
                start = time.perf_counter()
                list(pool.map(work, some))
                rate = len(some) / (time.perf_counter() - start)
            table.add(f"{what}, Pillow, {threads} threads", rate=rate, note=size)
    try:
        from torchvision.io import decode_jpeg

        raw = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
        for n in (32, 256):
            few = raw[:n]
            rate = len(few) / seconds(lambda few=few: decode_jpeg(few, device="cuda"))
            table.add("decode, nvJPEG", "uint8", len(few), rate, note=size)
        all_there = recorded(encoder.encode.forward, _on_gpu(len(few), encoder))  # type: ignore[attr-defined]

        def on_gpu() -> None:
            pictures = torch.stack(decode_jpeg(few, device="cuda")).to(encoder.encode.dtype)  # type: ignore[attr-defined]
            torch.nn.functional.interpolate(pictures, SIDE, mode="bicubic", antialias=True)
            all_there()

        rate = len(few) / seconds(on_gpu)
        table.add("decode, resize and encode, all on the GPU", encoder.dtype, len(few), rate)
    except (ImportError, RuntimeError) as error:
        table.add("decode, nvJPEG", note=f"not to be had: {str(error).splitlines()[0]}")


def extraction(
    table: Table, what: str, encoder: Encoder, files: Sequence[bytes], copies: int = 8
) -> None:
    """``features.extract`` of files on disk into a new store."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        samples = []
        for i in range(copies):
            for j, file in enumerate(files):
                path = folder / f"{i}-{j}.jpg"
                # What follows a JPEG's end makes another file of it, and no other picture.
                path.write_bytes(file + bytes([i]))
                samples.append(Sample(path, "real"))
        for threads in (4, CORES):
            for batch_size in (32, BATCH):
                store = FeatureStore(folder / f"store-{threads}-{batch_size}", encoder)
                start = time.perf_counter()
                extract(samples, encoder, store, batch_size=batch_size, threads=threads)
                rate = len(samples) / (time.perf_counter() - start)
                note = f"{threads} threads read and decode"
                table.add(what, encoder.dtype, batch_size, rate, note=note)


def unrecorded(encoder: Encoder) -> Encoder:
    """The encoder without CUDA graphs."""
    own = encoder.encode
    assert isinstance(own, GpuEncode)
    encode = GpuEncode(own.forward, encoder.device, own.dtype, record=lambda run, _: run)
    return replace(encoder, encode=encode)


def steps(table: Table) -> Iterator[Callable[[], None]]:
    """All measurements, the most important ones first."""
    with TemporaryDirectory() as folder:
        name = clip_b16(Path(folder))
        rough, exact = (load_encoder(name, device="cuda", dtype=d) for d in ("bfloat16", "float32"))
        yield lambda: matrix_products(table)
        yield lambda: network(table, rough, (1, 32, 64, 128, 256, 512, 1024))
        yield lambda: network_compiled(table, "compiled", rough, 512, OPTIONS)
        encode = "memory to memory"
        yield lambda: from_memory(table, encode, rough, (1, 32, 256, 4096))
        fast = compiled(rough)
        yield lambda: from_memory(table, f"{encode}, compiled", fast, (512, 4096))
        cpu = load_encoder(name, device="cpu", dtype="float32")
        found = {"float32": exact, "bfloat16": rough, "bfloat16, compiled": fast}
        yield lambda: agreement(table, cpu, found)
        files = photographs(BATCH)
        yield lambda: decoding(table, rough, files)
        yield lambda: extraction(table, "files to store", rough, files)
        yield lambda: network(table, exact, (32, BATCH))
        yield lambda: network_tf32(table, exact)
        yield lambda: from_memory(table, encode, exact, (32, 1024))
        plain = unrecorded(rough)
        yield lambda: from_memory(table, f"{encode}, no graph", plain, (1, 32, 256, 4096))
        yield lambda: extraction(table, "files to store, no graph", plain, files)
        yield lambda: network_compiled(table, "compiled, own settings", rough, 512, {})


def measure() -> list[Row]:
    """All rows, or one that says that there is no GPU."""
    if not torch.cuda.is_available():
        return [{"what": "skipped: no CUDA GPU here"}]
    table = Table()
    for step in steps(table):
        try:
            with torch.inference_mode():
                step()
        except Exception as error:  # too little memory, no compiler …: the other rows still count
            table.add("failed", note=f"{type(error).__name__}: {str(error).strip()[:200]}")
    return table.rows


def main() -> None:
    """Writes the table, and what it was measured with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a Markdown file")
    parser.add_argument("--json", type=Path, help="the same rows as JSON")
    given = parser.parse_args()
    rows = measure()
    if not torch.cuda.is_available():
        print(rows[0]["what"])
        return
    card = torch.cuda.get_device_name()
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    made = f"{card}, {CORES} CPU cores; {libraries}; {datetime.now(UTC):%Y-%m-%d}"
    write_text(given.out, f"# Speed on a GPU\n\n{made}.\n\n{markdown_table(rows)}")
    if given.json:
        write_text(given.json, json.dumps({"made": made, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
