"""A GPU: CLIP ViT-B/16 in shares of the measured bfloat16 matrix peak, and decoding apart from it.

python benchmarks/speed/gpu.py --out benchmarks/RESULTS-GPU.md --json gpu.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from gpu_files import decoding, extraction, photographs
from gpu_rows import BATCH, CORES, SIDE, Table, on_gpu, recorded, seconds
from random_clip import clip_b16

from whichgen.encoders.base import Encoder
from whichgen.encoders.cuda_graphs import GpuEncode
from whichgen.encoders.loading import load_encoder
from whichgen.io.atomic import write_text
from whichgen.io.result_files import Row, markdown_table

LIBRARIES = ("torch", "torchvision", "transformers", "numpy", "pillow")


def matrix_products(table: Table, sides: Sequence[int] = (4096, 8192, 16384)) -> None:
    """The peak: the best square, on random data."""
    rates = []
    for n in sides:
        a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        rates.append(2 * n**3 / seconds(lambda a=a, b=b: a @ b))
        table.add(f"matrix product of {n}", "bfloat16", note=f"{rates[-1] / 1e12:.0f} TFLOP/s")
    table.peak = max(rates)


def network(table: Table, encoder: Encoder, batches: Sequence[int]) -> None:
    """Passes alone, of batches that lie on the GPU."""
    forward = encoder.encode.forward  # type: ignore[attr-defined]
    for n in batches:
        batch = on_gpu(n, encoder)
        rate = n / seconds(lambda batch=batch: forward(batch))
        table.add("network", encoder.dtype, n, rate, share=True)
        rate = n / seconds(recorded(forward, batch))
        table.add("network, CUDA graph", encoder.dtype, n, rate, share=True)


def network_tf32(table: Table, encoder: Encoder) -> None:
    """The same at a precision that whichgen does not offer, for comparison."""
    torch.set_float32_matmul_precision("high")
    call = recorded(encoder.encode.forward, on_gpu(BATCH, encoder))  # type: ignore[attr-defined]
    table.add("network, CUDA graph", "TF32", BATCH, BATCH / seconds(call), share=True)
    torch.set_float32_matmul_precision("highest")


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
        encode = "memory to memory"
        yield lambda: from_memory(table, encode, rough, (1, 32, 256, 4096))
        cpu = load_encoder(name, device="cpu", dtype="float32")
        found = {"float32": exact, "bfloat16": rough}
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
