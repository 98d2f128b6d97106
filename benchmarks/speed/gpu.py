"""Measure CLIP ViT-B/16 on a GPU, relative to the fastest matrix product, and JPEG decoding.

python benchmarks/speed/gpu.py --out gpu.md --json gpu.json
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
from gpu_files import make_jpegs, measure_decoding, measure_extraction
from gpu_rows import BATCH, CORES, SIDE, Table, make_batch, measure_seconds, record_graph
from random_clip import write_random_clip

from whichgen.encoders.cuda_graphs import GpuEncodeFunction
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.io.atomic_writes import write_text
from whichgen.io.result_files import Row, format_markdown_table

#: Libraries whose versions are reported.
LIBRARIES = ("torch", "torchvision", "transformers", "numpy", "pillow")


def measure_products(table: Table, sides: Sequence[int] = (4096, 8192, 16384)) -> None:
    """Measure products of random square matrices; the fastest is the peak of the table."""
    rates = []
    for n in sides:
        a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        rates.append(2 * n**3 / measure_seconds(lambda a=a, b=b: a @ b))
        table.add(f"matrix product of {n}", "bfloat16", note=f"{rates[-1] / 1e12:.0f} TFLOP/s")
    table.peak = max(rates)


def measure_network(table: Table, encoder: Encoder, sizes: Sequence[int]) -> None:
    """Measure forward passes of batches on the GPU, with and without CUDA graphs."""
    forward = encoder.encode.forward  # type: ignore[attr-defined]
    for n in sizes:
        batch = make_batch(n, encoder)
        rate = n / measure_seconds(lambda batch=batch: forward(batch))
        table.add("network", encoder.dtype, n, rate, share=True)
        rate = n / measure_seconds(record_graph(forward, batch))
        table.add("network, CUDA graph", encoder.dtype, n, rate, share=True)


def measure_tf32(table: Table, encoder: Encoder) -> None:
    """Measure forward passes in TF32, which whichgen does not offer, for comparison."""
    torch.set_float32_matmul_precision("high")
    call = record_graph(encoder.encode.forward, make_batch(BATCH, encoder))  # type: ignore[attr-defined]
    table.add("network, CUDA graph", "TF32", BATCH, BATCH / measure_seconds(call), share=True)
    torch.set_float32_matmul_precision("highest")


def measure_encode(table: Table, step: str, encoder: Encoder, sizes: Sequence[int]) -> None:
    """Measure ``Encoder.encode``, from preprocessed images to features in the host's memory."""
    for n in sizes:
        pixels = _draw_pixels(n)
        rate = n / measure_seconds(lambda pixels=pixels: encoder.encode(pixels))
        table.add(step, encoder.dtype, n, rate, share=True)


def _draw_pixels(n: int) -> np.ndarray:
    """Draw n preprocessed images, of which at most 256 are different."""
    images = np.random.default_rng(n).standard_normal((min(n, 256), 3, SIDE, SIDE), np.float32)
    return np.resize(images, (n, *images.shape[1:]))


def compare_features(
    table: Table, reference: Encoder, encoders: dict[str, Encoder], n: int = 16
) -> None:
    """Add the largest relative difference of features from those of ``reference``, over images."""
    pixels = _draw_pixels(n)
    expected = reference.encode(pixels)
    for name, encoder in encoders.items():
        encoder.encode(pixels)
        difference = max(
            float((np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max())
            for a, b in zip(encoder.encode(pixels), expected, strict=True)
        )
        note = f"differs from the CPU by {difference:.0e}"
        table.add(f"features of {name}", encoder.dtype, n, note=note)


class UnrecordedEncode(GpuEncodeFunction):
    """:class:`GpuEncodeFunction` without CUDA graphs."""

    def _run(self, batch: torch.Tensor) -> torch.Tensor:
        return self._concatenate_blocks(batch)


def remove_graphs(encoder: Encoder) -> Encoder:
    """Return the encoder without CUDA graphs."""
    encode = encoder.encode
    assert isinstance(encode, GpuEncodeFunction)
    unrecorded = UnrecordedEncode(encode.forward, encoder.device, encode.dtype)
    return replace(encoder, encode=unrecorded)


def list_measurements(table: Table) -> Iterator[Callable[[], None]]:
    """Yield functions that measure and add rows, the most important ones first."""
    with TemporaryDirectory() as folder:
        name = write_random_clip(Path(folder))
        bfloat16, float32 = (
            load_encoder(name, device="cuda", dtype=dtype) for dtype in ("bfloat16", "float32")
        )
        yield lambda: measure_products(table)
        yield lambda: measure_network(table, bfloat16, (1, 32, 64, 128, 256, 512, 1024))
        step = "memory to memory"
        yield lambda: measure_encode(table, step, bfloat16, (1, 32, 256, 4096))
        cpu = load_encoder(name, device="cpu", dtype="float32")
        encoders = {"float32": float32, "bfloat16": bfloat16}
        yield lambda: compare_features(table, cpu, encoders)
        files = make_jpegs(BATCH)
        yield lambda: measure_decoding(table, bfloat16, files)
        yield lambda: measure_extraction(table, "files to store", bfloat16, files)
        yield lambda: measure_network(table, float32, (32, BATCH))
        yield lambda: measure_tf32(table, float32)
        yield lambda: measure_encode(table, step, float32, (32, 1024))
        no_graphs = remove_graphs(bfloat16)
        yield lambda: measure_encode(table, f"{step}, no graph", no_graphs, (1, 32, 256, 4096))
        yield lambda: measure_extraction(table, "files to store, no graph", no_graphs, files)


def measure() -> list[Row]:
    """Return the rows of all measurements."""
    table = Table()
    for run in list_measurements(table):
        try:
            with torch.inference_mode():
                run()
        except Exception as error:  # for example too little memory: continue with the next one
            table.add("failed", note=f"{type(error).__name__}: {str(error).strip()[:200]}")
    return table.rows


def main() -> None:
    """Write the table with the names of the GPU and the libraries."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--json", type=Path, help="JSON file to write with the same rows")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("No CUDA GPU is available. Run this script on a machine with a GPU.")
    rows = measure()
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    machine = f"{torch.cuda.get_device_name()}, {CORES} CPU cores"
    conditions = f"{machine}; {libraries}; {datetime.now(UTC):%Y-%m-%d}"
    write_text(arguments.out, f"# Speed on a GPU\n\n{conditions}.\n\n{format_markdown_table(rows)}")
    if arguments.json:
        write_text(arguments.json, json.dumps({"made": conditions, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
