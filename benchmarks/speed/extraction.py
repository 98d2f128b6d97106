"""Extraction on the CPU: runtimes of CLIP ViT-B/16, decoders, and image files to stored features.

simplejpeg (libjpeg-turbo) is measured where it is installed; it is no part of whichgen.
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
from random_clip import clip_b16

from whichgen.data.dataset import Sample
from whichgen.data.images.decoding import decode_image
from whichgen.encoders.base import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.features.extraction import extract
from whichgen.features.store import FeatureStore
from whichgen.io.result_files import Row

#: Images of a batch, and images of a timed pass.
BATCHES = (1, 8, 32)
IMAGES = 32

_RUNTIMES = {"cpu": "torch", "openvino": "OpenVINO"}


def measure() -> list[Row]:
    """Return one row per runtime and decoder, in images per second."""
    with TemporaryDirectory() as folder:
        clip = clip_b16(Path(folder) / "clip")
        devices = ("cpu", "openvino") if importlib.util.find_spec("openvino") else ("cpu",)
        encoders = {
            f"{_RUNTIMES[device]}, {dtype}": load_encoder(clip, device=device, dtype=dtype)
            for device in devices
            for dtype in ("float32", "bfloat16")
        }
        exact = encoders["torch, float32"]
        files = jpegs(Path(folder) / "jpegs")
        pixels = np.stack([exact.preprocess(decode_image(f.read_bytes())) for f in files])
        expected = exact.encode(pixels)[-1]
        rows = []
        for name, encoder in encoders.items():
            off = _off(encoder.encode(pixels)[-1], expected)
            for batch in BATCHES:
                parts = [pixels[i : i + batch] for i in range(0, len(pixels), batch)]
                rate = _rate(lambda e=encoder, p=parts: [e.encode(x) for x in p], len(pixels))
                rows.append(_row(f"{name}, batches of {batch}", rate, off))
        rows += [_row(name, rate, "") for name, rate in decoders(files)]
        for name, encoder in encoders.items():
            bare = _rate(lambda e=encoder: e.encode(pixels), len(pixels))
            whole = whole_rate(encoder, files, Path(folder) / name)
            share = f"{100 * whole / bare:.0f} % of the bare network's {bare:.1f}"
            rows.append(_row(f"files to store, {name}", whole, share))
    return rows


def decoders(files: list[Path]) -> Iterator[tuple[str, float]]:
    """Decoders of the same JPEGs, one thread."""
    contents = [file.read_bytes() for file in files]
    yield "decode, Pillow", _rate(lambda: [decode_image(c) for c in contents], len(contents))

    def drafted(content: bytes) -> Image.Image:
        image = Image.open(io.BytesIO(content))
        image.draft("RGB", (224, 224))
        return image.convert("RGB")

    rate = _rate(lambda: [drafted(c) for c in contents], len(contents))
    yield "decode, Pillow, scaled while decoding (other pixels)", rate
    if importlib.util.find_spec("simplejpeg") is not None:
        import simplejpeg

        rate = _rate(lambda: [simplejpeg.decode_jpeg(c) for c in contents], len(contents))
        yield "decode, libjpeg-turbo (simplejpeg)", rate


def whole_rate(encoder: Encoder, files: list[Path], folder: Path) -> float:
    """Images a second from files to the feature store."""
    samples = [Sample(file, "real") for file in files]
    start = time.perf_counter()
    extract(samples, encoder, FeatureStore(folder, encoder))
    return len(files) / (time.perf_counter() - start)


def jpegs(folder: Path) -> list[Path]:
    """As many JPEGs of 640 × 480 as a pass has images; smooth, with some grain."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = []
    for i in range(IMAGES):
        rough = Image.fromarray(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8))
        smooth = np.asarray(rough.resize((640, 480), Image.Resampling.BICUBIC), np.float32)
        grain = smooth + rng.normal(0, 6, smooth.shape)
        files.append(folder / f"{i}.jpg")
        Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def _rate(run: Callable[[], object], images: int, repeats: int = 3) -> float:
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return images / min(seconds)


def _off(found: np.ndarray, expected: np.ndarray) -> str:
    lengths = np.linalg.norm(expected[: len(found)], axis=1)
    return f"off by {(np.linalg.norm(found - expected[: len(found)], axis=1) / lengths).max():.0e}"


def _row(name: str, rate: float, note: str) -> Row:
    return {"what": name, "images/s": f"{rate:.1f}", "note": note}
