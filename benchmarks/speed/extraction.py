"""Extraction on the CPU: ways to run CLIP ViT-B/16, decoders, and how near the whole comes to it.

ONNX Runtime, OpenVINO and simplejpeg (libjpeg-turbo) are measured where they are installed; they
are no part of whichgen.
"""

from __future__ import annotations

import importlib.util
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from random_clip import clip_b16

from whichgen.data.dataset import Sample
from whichgen.data.images.reading import decode_image
from whichgen.encoders.base import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.features.extraction import extract
from whichgen.features.store import FeatureStore
from whichgen.io.tables import Row

#: Images of a batch, and images of a timed pass.
BATCHES = (1, 8, 32)
IMAGES = 32


def measure() -> list[Row]:
    """A row for each way, in images a second."""
    with TemporaryDirectory() as folder:
        clip = clip_b16(Path(folder) / "clip")
        exact, half = (load_encoder(clip, device="cpu", dtype=d) for d in ("float32", "bfloat16"))
        files = jpegs(Path(folder) / "jpegs")
        pixels = np.stack([exact.preprocess(decode_image(f.read_bytes())) for f in files])
        rows = [_row(name, rate, note) for name, rate, note in ways(exact, half, pixels, clip)]
        rows += [_row(name, rate, "") for name, rate in decoders(files)]
        for name, encoder in (("float32", exact), ("bfloat16", half)):
            bare = _rate(lambda e=encoder: e.encode(pixels), len(pixels))
            whole = whole_rate(encoder, files, Path(folder) / name)
            share = f"{100 * whole / bare:.0f} % of the bare network's {bare:.1f}"
            rows.append(_row(f"files to store, {name}", whole, share))
    return rows


def ways(
    exact: Encoder, half: Encoder, pixels: np.ndarray, clip: str
) -> Iterator[tuple[str, float, str]]:
    """Name, images a second, and how far the last block's CLS token is off float32's."""
    expected = exact.encode(pixels)[-1]
    for name, encoder in (("float32", exact), ("bfloat16", half)):
        for batch in BATCHES:
            parts = [pixels[i : i + batch] for i in range(0, len(pixels), batch)]
            rate = _rate(lambda e=encoder, p=parts: [e.encode(x) for x in p], len(pixels))
            off = _off(encoder.encode(pixels)[-1], expected)
            yield f"whichgen, {name}, batches of {batch}", rate, off
    import transformers

    module = transformers.CLIPVisionModel.from_pretrained(clip).eval()

    class Tokens(torch.nn.Module):
        """The CLS token after each block, in one tensor: what is exported."""

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            hidden = module(pixel_values=pixel_values, output_hidden_states=True).hidden_states
            return torch.stack([h[:, 0] for h in hidden[1:]])

    tokens = Tokens().eval()
    batch = torch.from_numpy(pixels[:IMAGES])
    compiled: Any = torch.compile(tokens)
    with torch.inference_mode():
        compiled(batch)
        rate = _rate(lambda: compiled(batch), IMAGES)
        yield "torch.compile, float32", rate, _off(compiled(batch)[-1].numpy(), expected)
    for name, runner in exported(tokens, batch):
        found = runner(pixels[:IMAGES])
        yield name, _rate(lambda r=runner: r(pixels[:IMAGES]), IMAGES), _off(found[-1], expected)


def exported(
    module: torch.nn.Module, batch: torch.Tensor
) -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    """The network as an ONNX graph, run by what is installed."""
    if importlib.util.find_spec("onnxscript") is None:
        return
    with TemporaryDirectory() as folder:
        file = str(Path(folder) / "clip.onnx")
        torch.onnx.export(module, (batch,), file, dynamo=True, external_data=False, verbose=False)
        if importlib.util.find_spec("onnxruntime") is not None:
            import onnxruntime

            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
            name = session.get_inputs()[0].name
            yield "ONNX Runtime, float32", lambda x: np.asarray(session.run(None, {name: x})[0])
        if importlib.util.find_spec("openvino") is not None:
            import openvino

            model = openvino.Core().read_model(file)
            for title, precision in (("float32", "f32"), ("bfloat16", "bf16")):
                hint = {"INFERENCE_PRECISION_HINT": precision}
                compiled = openvino.compile_model(model, "CPU", hint)
                yield f"OpenVINO, {title}", lambda x, c=compiled: np.asarray(c(x)[0])


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
