"""Measure extraction on the CPU: runtimes of CLIP ViT-B/16, JPEG decoders, and both together.

The decoder simplejpeg (libjpeg-turbo), which whichgen does not use, is measured if it is installed.
"""

from __future__ import annotations

import importlib.util
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from random_clip import write_random_clip

from whichgen.data.dataset import Sample
from whichgen.data.images.decoding import decode_image
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.features.extraction import extract
from whichgen.features.store import FeatureStore
from whichgen.io.result_files import Row

#: Batch sizes, and number of images that are encoded per measurement.
BATCHES = (1, 8, 32)
IMAGES = 32

_RUNTIMES = {"cpu": "torch", "openvino": "OpenVINO"}


def measure() -> list[Row]:
    """Return one row per runtime and decoder, in images per second."""
    with TemporaryDirectory() as folder:
        clip = write_random_clip(Path(folder) / "clip")
        devices = ("cpu", "openvino") if importlib.util.find_spec("openvino") else ("cpu",)
        encoders = {
            f"{_RUNTIMES[device]}, {dtype}": load_encoder(clip, device=device, dtype=dtype)
            for device in devices
            for dtype in ("float32", "bfloat16")
        }
        exact = encoders["torch, float32"]
        files = write_jpegs(Path(folder) / "jpegs")
        pixels = np.stack([exact.preprocess(decode_image(f.read_bytes())) for f in files])
        expected = exact.encode(pixels)[-1]
        rows = []
        for name, encoder in encoders.items():
            difference = _format_difference(encoder.encode(pixels)[-1], expected)
            for size in BATCHES:
                batches = [pixels[i : i + size] for i in range(0, len(pixels), size)]
                rate = _measure_rate(
                    lambda e=encoder, b=batches: [e.encode(batch) for batch in b], len(pixels)
                )
                rows.append(_make_row(f"{name}, batches of {size}", rate, difference))
        rows += [_make_row(name, rate, "") for name, rate in measure_decoders(files)]
        for name, encoder in encoders.items():
            network_rate = _measure_rate(lambda e=encoder: e.encode(pixels), len(pixels))
            rate = measure_extraction(encoder, files, Path(folder) / name)
            note = f"{100 * rate / network_rate:.0f} % of the bare network's {network_rate:.1f}"
            rows.append(_make_row(f"files to store, {name}", rate, note))
    return rows


def measure_decoders(files: list[Path]) -> Iterator[tuple[str, float]]:
    """Yield the name of each JPEG decoder and its rate in images per second, with one thread."""
    contents = [file.read_bytes() for file in files]

    def measure_decoder(decode: Callable[[bytes], object]) -> float:
        return _measure_rate(lambda: [decode(content) for content in contents], len(contents))

    def decode_scaled(content: bytes) -> Image.Image:
        image = Image.open(io.BytesIO(content))
        image.draft("RGB", (224, 224))
        return image.convert("RGB")

    yield "decode, Pillow", measure_decoder(decode_image)
    yield "decode, Pillow, scaled while decoding (other pixels)", measure_decoder(decode_scaled)
    if importlib.util.find_spec("simplejpeg") is not None:
        import simplejpeg

        yield "decode, libjpeg-turbo (simplejpeg)", measure_decoder(simplejpeg.decode_jpeg)


def measure_extraction(encoder: Encoder, files: list[Path], folder: Path) -> float:
    """Measure the images per second from image files to the feature store in ``folder``."""
    samples = [Sample(file, "real") for file in files]
    start = time.perf_counter()
    extract(samples, encoder, FeatureStore(folder, encoder))
    return len(files) / (time.perf_counter() - start)


def write_jpegs(folder: Path) -> list[Path]:
    """Write :data:`IMAGES` JPEG files of 640 × 480 pixels: smooth random colors with some noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = []
    for i in range(IMAGES):
        colors = Image.fromarray(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8))
        smooth = np.asarray(colors.resize((640, 480), Image.Resampling.BICUBIC), np.float32)
        noisy = smooth + rng.normal(0, 6, smooth.shape)
        files.append(folder / f"{i}.jpg")
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def _measure_rate(run: Callable[[], object], images: int, repeats: int = 3) -> float:
    """Return the images per second of the fastest of several calls, after a warm-up call."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return images / min(seconds)


def _format_difference(features: np.ndarray, expected: np.ndarray) -> str:
    """Describe the largest relative difference from ``expected``, over images."""
    distances = np.linalg.norm(features - expected, axis=1) / np.linalg.norm(expected, axis=1)
    return f"differs by {distances.max():.0e}"


def _make_row(name: str, rate: float, note: str) -> Row:
    return {"step": name, "images/s": f"{rate:.1f}", "note": note}
