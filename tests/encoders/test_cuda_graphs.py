"""Encoding on a GPU, with and without CUDA graphs, gives the features of the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import whichgen.encoders.cuda_graphs as gpu_module
from whichgen.encoders import load_encoder
from whichgen.encoders.cuda_graphs import ConcatenatedForward, GpuEncodeFunction
from whichgen.encoders.torch_runtime import make_torch_encode
from whichgen.features.batching import is_out_of_memory

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def _blocks(pixels: torch.Tensor) -> list[torch.Tensor]:
    """Compute two blocks of different dimensions."""
    return [pixels.mean(dim=(2, 3)), pixels.square().flatten(1)[:, :5]]


def _images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3, 4, 4)).astype(np.float32)


class Recorder:
    """Stand-in for CUDA graphs that logs which shapes are recorded and replayed."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.events: list[tuple[str, int]] = []
        self.failure = failure

    def __call__(self, run: ConcatenatedForward, batch: torch.Tensor) -> ConcatenatedForward:
        self.events.append(("record", len(batch)))
        if self.failure is not None:
            raise self.failure
        shape = batch.shape

        def replay(batch: torch.Tensor) -> torch.Tensor:
            assert batch.shape == shape
            self.events.append(("replay", len(batch)))
            return run(batch)

        return replay


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("n", [1, 3, 8])
def test_blocks_are_those_of_torch(n: int, dtype: str) -> None:
    kind = torch.float32 if dtype == "float32" else torch.bfloat16
    encode = GpuEncodeFunction(_blocks, "cpu", kind)
    pixels = _images(n)
    expected = make_torch_encode(_blocks, "cpu", dtype)(pixels)
    for block, reference in zip(encode(pixels), expected, strict=True):
        assert block.dtype == np.float32
        assert block.flags.c_contiguous
        assert np.array_equal(block, reference)
    assert [block.shape for block in expected] == [(n, 3), (n, 5)]


def test_a_shape_that_occurs_twice_in_a_row_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setattr(gpu_module, "CudaGraph", recorder)
    encode = GpuEncodeFunction(_blocks, "cpu", torch.float32)
    for n in (1, 4, 4, 4, 3, 4, 2, 2):
        pixels = _images(n, seed=n)
        assert np.array_equal(encode(pixels)[0], _blocks(torch.from_numpy(pixels))[0].numpy())
    assert recorder.events == [
        ("record", 4),
        ("replay", 4),
        ("replay", 4),
        ("replay", 4),
        ("record", 2),
        ("replay", 2),
    ]


def test_a_network_that_cannot_be_recorded_runs_unrecorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder(RuntimeError("operation not permitted when stream is capturing"))
    monkeypatch.setattr(gpu_module, "CudaGraph", recorder)
    encode = GpuEncodeFunction(_blocks, "cpu", torch.float32)
    pixels = _images(4)
    for _ in range(4):
        assert np.array_equal(encode(pixels)[1], _blocks(torch.from_numpy(pixels))[1].numpy())
    assert recorder.events == [("record", 4)]


def test_a_smaller_batch_works_after_out_of_memory() -> None:
    def forward(pixels: torch.Tensor) -> list[torch.Tensor]:
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate …")
        return _blocks(pixels)

    encode = GpuEncodeFunction(forward, "cpu", torch.float32)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        encode(_images(4))
    assert is_out_of_memory(caught.value)  # so that BatchEncoder halves the batch
    assert len(encode(_images(2))[0]) == 2


def _distance(ours: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Return the largest relative difference of a vector over blocks and images."""
    pairs = zip(ours, expected, strict=True)
    return max(
        float((np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max()) for a, b in pairs
    )


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, 3, 32, 32)).astype(np.float32)


@needs_gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 3e-2)])
def test_features_on_a_gpu_are_those_of_the_cpu(
    tiny_clip: Path, pixels: np.ndarray, dtype: str, tolerance: float
) -> None:
    expected = load_encoder(str(tiny_clip), device="cpu").encode(pixels)
    encoder = load_encoder(str(tiny_clip), device="cuda", dtype=dtype)
    first, *others = (encoder.encode(pixels) for _ in range(4))
    assert _distance(first, expected) < tolerance
    for again in others:  # the graph runs from the second call on
        assert all(np.array_equal(a, b) for a, b in zip(again, first, strict=True))
    assert encoder.encode(-pixels)[0][0, 0] != first[0][0, 0]  # the graph reads new input
    one = encoder.encode(pixels[:1])
    assert _distance(one, [block[:1] for block in expected]) < tolerance


@needs_gpu
def test_features_of_a_convolutional_network_on_a_gpu_are_those_of_the_cpu() -> None:
    pixels = np.random.default_rng(1).normal(size=(4, 3, 224, 224)).astype(np.float32)
    expected, blocks = (
        load_encoder("efficientnet_lite0", device=device).encode(pixels)
        for device in ("cpu", "cuda")
    )
    assert _distance(blocks, expected) < 1e-5


@needs_gpu
def test_a_network_that_synchronizes_runs_unrecorded_on_a_gpu(pixels: np.ndarray) -> None:
    def forward(batch: torch.Tensor) -> list[torch.Tensor]:
        return [batch.flatten(1) * batch.mean().item()]  # synchronizes

    encode = GpuEncodeFunction(forward, "cuda", torch.float32)
    features: list[Any] = [encode(pixels)[0] for _ in range(3)]
    assert np.array_equal(features[0], features[1])
    assert np.array_equal(features[0], features[2])
    other = GpuEncodeFunction(_blocks, "cuda", torch.float32)
    again = [other(pixels)[0] for _ in range(3)]  # recording did not damage the device
    assert np.array_equal(again[0], again[2])
