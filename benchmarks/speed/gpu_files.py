"""From JPEG files to pixels and features: what the GPU waits for."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from gpu_rows import BATCH, CORES, SIDE, Table, on_gpu, recorded, seconds
from PIL import Image

from whichgen.data.dataset import Sample
from whichgen.data.images.decoding import decode_image
from whichgen.encoders.base import Encoder
from whichgen.features.extraction import extract
from whichgen.features.store import FeatureStore


def photographs(n: int) -> list[bytes]:
    """JPEG files, 512 × 512, quality 90: colors that change slowly, and grain."""

    def make(seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        colors = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        smooth = np.asarray(colors.resize((512, 512), Image.Resampling.BICUBIC), np.float32)
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
        return encoder.preprocess(decode_image(file))

    for what, work in (("decode", decode_image), ("decode and preprocess", prepare)):
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
        all_there = recorded(encoder.encode.forward, on_gpu(len(few), encoder))  # type: ignore[attr-defined]

        def whole() -> None:
            pictures = torch.stack(decode_jpeg(few, device="cuda")).to(encoder.encode.dtype)  # type: ignore[attr-defined]
            torch.nn.functional.interpolate(pictures, SIDE, mode="bicubic", antialias=True)
            all_there()

        rate = len(few) / seconds(whole)
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
            torch.set_num_threads(threads // 2)
            for batch_size in (32, BATCH):
                store = FeatureStore(folder / f"store-{threads}-{batch_size}", encoder)
                start = time.perf_counter()
                extract(samples, encoder, store, batch_size=batch_size)
                rate = len(samples) / (time.perf_counter() - start)
                note = f"{threads} threads read and decode"
                table.add(what, encoder.dtype, batch_size, rate, note=note)
