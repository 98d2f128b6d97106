"""Encoding on a GPU: the same features as on the CPU, whatever is recorded, split or filled up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from whichgen.encoders import load_encoder
from whichgen.encoders.base import Encoder, torch_encode
from whichgen.encoders.compiled import compiled
from whichgen.encoders.gpu import GpuEncode, Pass, suit_gpu
from whichgen.errors import EncoderError
from whichgen.features.batching import is_out_of_memory

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def _blocks(pixels: torch.Tensor) -> list[torch.Tensor]:
    """Two blocks of different dimensions, of each image alone."""
    return [pixels.mean(dim=(2, 3)), pixels.square().flatten(1)[:, :5]]


def _images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3, 4, 4)).astype(np.float32)


class Recorder:
    """Stands for CUDA graphs: notes which shapes are recorded, and which recordings are run."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.events: list[tuple[str, int]] = []
        self.failure = failure

    def __call__(self, run: Pass, batch: torch.Tensor) -> Pass:
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
def test_steps_and_one_copy_give_each_block_as_it_is(n: int, dtype: str) -> None:
    kind = torch.float32 if dtype == "float32" else torch.bfloat16
    encode = GpuEncode(_blocks, "cpu", kind, step=3, record=Recorder())
    pixels = _images(n)
    expected = torch_encode(_blocks, "cpu", dtype)(pixels)
    for found, right in zip(encode(pixels), expected, strict=True):
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        assert np.array_equal(found, right)
    assert [block.shape for block in expected] == [(n, 3), (n, 5)]


def test_a_shape_that_comes_twice_in_a_row_is_recorded() -> None:
    recorder = Recorder()
    encode = GpuEncode(_blocks, "cpu", torch.float32, record=recorder)
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


def test_a_network_that_cannot_be_recorded_runs_unrecorded_and_is_not_tried_again() -> None:
    recorder = Recorder(RuntimeError("operation not permitted when stream is capturing"))
    encode = GpuEncode(_blocks, "cpu", torch.float32, record=recorder)
    pixels = _images(4)
    for _ in range(4):
        assert np.array_equal(encode(pixels)[1], _blocks(torch.from_numpy(pixels))[1].numpy())
    assert recorder.events == [("record", 4)]


def test_after_a_lack_of_memory_fewer_images_pass() -> None:
    def forward(pixels: torch.Tensor) -> list[torch.Tensor]:
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate …")
        return _blocks(pixels)

    encode = GpuEncode(forward, "cpu", torch.float32, record=Recorder())
    with pytest.raises(torch.OutOfMemoryError) as lack:
        encode(_images(4))
    assert is_out_of_memory(lack.value)  # whichgen.features.batching then halves
    assert len(encode(_images(2))[0]) == 2


def test_compiled_fills_the_last_batch_up(
    tiny_clip: Path, monkeypatch: pytest.MonkeyPatch, noise: Callable[..., Image.Image]
) -> None:
    seen: list[int] = []

    def forward(pixels: torch.Tensor) -> list[torch.Tensor]:
        seen.append(len(pixels))
        return _blocks(pixels)

    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    eager = GpuEncode(forward, "cpu", torch.float32, record=Recorder())
    encoder = Encoder("toy", "0" * 32, {}, np.asarray, eager, (3, 5))
    # The recorder of the compiled one would ask for CUDA: no shape may come twice here.
    pixels = _images(3)
    found = compiled(encoder, batch_size=4).encode(pixels)
    assert seen == [4]
    assert [block.shape for block in found] == [(3, 3), (3, 5)]
    for ours, right in zip(found, _blocks(torch.from_numpy(pixels)), strict=True):
        assert np.array_equal(ours, right.numpy())


@pytest.mark.parametrize("size", [(32, 32), (37, 45)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_of_patches_is_a_matrix_product(size: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 5, (8, 4), stride=(8, 4), bias=bias))
    pixels = torch.randn(2, 3, *size)
    right = network(pixels)
    suit_gpu(network)
    found = network(pixels)
    assert found.shape == right.shape
    torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)
    assert "forward" in vars(network[0])


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "stride": 2},
        {"kernel_size": 1, "stride": 1},
        {"kernel_size": 4, "stride": 4, "padding": 1},
        {"kernel_size": 4, "stride": 4, "dilation": 2},
        {"kernel_size": 4, "stride": 4, "groups": 3},
    ],
)
def test_other_convolutions_get_channels_last(options: dict[str, int]) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 6, **options))  # type: ignore[arg-type]
    pixels = torch.randn(2, 3, 16, 16)
    right = network(pixels)
    suit_gpu(network)
    assert "forward" not in vars(network[0])
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(pixels), right, rtol=1e-5, atol=1e-5)


def test_compiled_refuses_what_is_no_network_on_a_gpu(tiny_clip: Path) -> None:
    with pytest.raises(EncoderError, match="can't be compiled"):
        compiled(load_encoder(str(tiny_clip), device="cpu"))


def _distance(ours: list[np.ndarray], right: list[np.ndarray]) -> float:
    """The largest relative difference of a vector over blocks and images."""
    pairs = zip(ours, right, strict=True)
    return max(
        float((np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max()) for a, b in pairs
    )


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, 3, 32, 32)).astype(np.float32)


@needs_gpu
@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-5), ("bfloat16", 3e-2)])
def test_on_a_gpu_as_on_the_cpu(
    tiny_clip: Path, pixels: np.ndarray, dtype: str, most: float
) -> None:
    right = load_encoder(str(tiny_clip), device="cpu").encode(pixels)
    encoder = load_encoder(str(tiny_clip), device="cuda", dtype=dtype)
    first, *others = (encoder.encode(pixels) for _ in range(4))
    assert _distance(first, right) < most
    for again in others:  # from the second on by the graph
        assert all(np.array_equal(a, b) for a, b in zip(again, first, strict=True))
    assert encoder.encode(-pixels)[0][0, 0] != first[0][0, 0]  # the graph reads its input anew
    one = encoder.encode(pixels[:1])
    assert _distance(one, [block[:1] for block in right]) < most


@needs_gpu
def test_a_convolutional_network_on_a_gpu_as_on_the_cpu() -> None:
    pixels = np.random.default_rng(1).normal(size=(4, 3, 224, 224)).astype(np.float32)
    right, found = (
        load_encoder("efficientnet_lite0", device=device).encode(pixels)
        for device in ("cpu", "cuda")
    )
    assert _distance(found, right) < 1e-5


@needs_gpu
def test_on_a_gpu_what_cannot_be_recorded_runs_unrecorded(pixels: np.ndarray) -> None:
    def forward(batch: torch.Tensor) -> list[torch.Tensor]:
        return [batch.flatten(1) * batch.mean().item()]  # waits for the device

    encode = GpuEncode(forward, "cuda", torch.float32)
    found: list[Any] = [encode(pixels)[0] for _ in range(3)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    other = GpuEncode(_blocks, "cuda", torch.float32)
    kept = [other(pixels)[0] for _ in range(3)]  # the device is as it was
    assert np.array_equal(kept[0], kept[2])


@needs_gpu
@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-5), ("bfloat16", 3e-2)])
def test_compiled_on_a_gpu_as_on_the_cpu(
    tiny_clip: Path, pixels: np.ndarray, dtype: str, most: float
) -> None:
    right = load_encoder(str(tiny_clip), device="cpu").encode(pixels)
    encoder = compiled(load_encoder(str(tiny_clip), device="cuda", dtype=dtype), batch_size=4)
    for _ in range(3):
        assert _distance(encoder.encode(pixels), right) < most
