"""Measure decoding of JPEG files, and extraction from files to the feature store, with a GPU."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from gpu_rows import BATCH, CORES, SIDE, Table, make_batch, measure_seconds, record_graph
from PIL import Image

from whichgen.data.dataset import Sample
from whichgen.data.images.decoding import decode_image
from whichgen.encoders.encoder import Encoder
from whichgen.features.extraction import extract
from whichgen.features.store import FeatureStore


def make_jpegs(n: int) -> list[bytes]:
    """Return n JPEG files of 512 × 512 pixels and quality 90: smooth random colors with noise."""

    def make_jpeg(seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        colors = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        smooth = np.asarray(colors.resize((512, 512), Image.Resampling.BICUBIC), np.float32)
        noise = rng.normal(0, 4, (512, 512, 1))
        file = io.BytesIO()
        image = Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))
        image.save(file, "JPEG", quality=90)
        return file.getvalue()

    with ThreadPoolExecutor(CORES) as pool:
        return list(pool.map(make_jpeg, range(n)))


def measure_decoding(table: Table, encoder: Encoder, files: Sequence[bytes]) -> None:
    """Measure decoding of JPEG files in memory: by Pillow, as in whichgen, and by the GPU."""
    size = f"{np.mean([len(file) for file in files]) / 1024:.0f} KiB per file"

    def preprocess(file: bytes) -> np.ndarray:
        return encoder.preprocess(decode_image(file))

    for step, function in (("decode", decode_image), ("decode and preprocess", preprocess)):
        for threads in (1, 4, CORES):
            sample = files[: 64 if threads == 1 else len(files)]
            with ThreadPoolExecutor(threads) as pool:
                start = time.perf_counter()
                list(pool.map(function, sample))
                rate = len(sample) / (time.perf_counter() - start)
            table.add(f"{step}, Pillow, {threads} threads", rate=rate, note=size)
    try:
        from torchvision.io import decode_jpeg

        contents = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
        for n in (32, 256):
            batch = contents[:n]
            rate = len(batch) / measure_seconds(lambda b=batch: decode_jpeg(b, device="cuda"))
            table.add("decode, nvJPEG", "uint8", len(batch), rate, note=size)
        run_network = record_graph(encoder.encode.forward, make_batch(len(batch), encoder))  # type: ignore[attr-defined]

        def decode_and_encode() -> None:
            images = torch.stack(decode_jpeg(batch, device="cuda")).to(encoder.encode.dtype)  # type: ignore[attr-defined]
            torch.nn.functional.interpolate(images, SIDE, mode="bicubic", antialias=True)
            run_network()

        rate = len(batch) / measure_seconds(decode_and_encode)
        table.add("decode, resize and encode, all on the GPU", encoder.dtype, len(batch), rate)
    except (ImportError, RuntimeError) as error:
        table.add("decode, nvJPEG", note=f"not available: {str(error).splitlines()[0]}")


def measure_extraction(
    table: Table, step: str, encoder: Encoder, files: Sequence[bytes], copies: int = 8
) -> None:
    """Measure ``features.extract`` from files on disk to a new store."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        samples = []
        for i in range(copies):
            for j, file in enumerate(files):
                path = folder / f"{i}-{j}.jpg"
                # Bytes after the end of a JPEG file change its content hash, but not its pixels.
                path.write_bytes(file + bytes([i]))
                samples.append(Sample(path, "real"))
        for threads in (4, CORES):
            torch.set_num_threads(threads // 2)
            for batch_size in (32, BATCH):
                store = FeatureStore(folder / f"store-{threads}-{batch_size}", encoder)
                start = time.perf_counter()
                extract(samples, encoder, store, batch_size=batch_size)
                rate = len(samples) / (time.perf_counter() - start)
                note = f"{threads} threads read and decode"
                table.add(step, encoder.dtype, batch_size, rate, note=note)
