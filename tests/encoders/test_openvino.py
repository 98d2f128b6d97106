"""OpenVINO computes the features of torch."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import noise_image
from whichgen.encoders.base import Network, build_encoder
from whichgen.encoders.loading import load_encoder
from whichgen.errors import EncoderError


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [noise_image(i, (48, 40), tint=i % 3) for i in range(7)]


def relative_error(features: np.ndarray, expected: np.ndarray) -> float:
    lengths = np.linalg.norm(expected, axis=1)
    return float((np.linalg.norm(features - expected, axis=1) / lengths).max())


@pytest.mark.parametrize("name", ["clip", "clip:patches", "efficientnet_lite0"])
def test_features_are_those_of_torch_for_every_batch_size(
    tiny_clip: Path, images: list[Image.Image], name: str
) -> None:
    name = name.replace("clip", str(tiny_clip)) if "clip" in name else name
    openvino, torch_cpu = (load_encoder(name, device=device) for device in ("openvino", "cpu"))
    pixels = np.stack([torch_cpu.preprocess(image) for image in images])
    assert openvino.block_dims == torch_cpu.block_dims
    # Both may share a store.
    assert (openvino.key, openvino.device) == (torch_cpu.key, "openvino")
    for n in (1, 2, 7):
        pairs = zip(openvino.encode(pixels[:n]), torch_cpu.encode(pixels[:n]), strict=True)
        for features, expected in pairs:
            assert features.dtype == np.float32 and features.shape == expected.shape
            assert relative_error(features, expected) < 2e-5


def test_bfloat16_is_near_float32(tiny_clip: Path, images: list[Image.Image]) -> None:
    narrow = load_encoder(str(tiny_clip), device="openvino", dtype="bfloat16")
    exact = load_encoder(str(tiny_clip), device="cpu")
    pixels = np.stack([exact.preprocess(image) for image in images])
    assert narrow.key != exact.key
    assert relative_error(narrow.encode(pixels)[-1], exact.encode(pixels)[-1]) < 0.05


def test_results_are_not_overwritten_by_the_next_call(
    tiny_clip: Path, images: list[Image.Image]
) -> None:
    encoder = load_encoder(str(tiny_clip), device="openvino")
    pixels = np.stack([encoder.preprocess(image) for image in images])
    first = encoder.encode(pixels[:3])
    copies = [block.copy() for block in first]
    encoder.encode(pixels[3:6])
    for block, copy in zip(first, copies, strict=True):
        assert np.array_equal(block, copy)


def test_a_missing_package_is_reported(tiny_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EncoderError, match=r"pip install 'whichgen\[openvino\]'"):
        load_encoder(str(tiny_clip), device="openvino")


def test_telemetry_is_disabled(tiny_clip: Path) -> None:
    load_encoder(str(tiny_clip), device="openvino")
    module = importlib.import_module("openvino.tools.ovc.telemetry_utils")
    assert module.tm.__name__ == "openvino.tools.ovc.telemetry_stub"
    assert "openvino_telemetry" not in sys.modules


def test_a_network_that_cannot_be_exported_is_reported() -> None:
    class DataDependent(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            if pixels.sum().item() > 0:  # not a static graph
                return pixels.flatten(1)
            return -pixels.flatten(1)

    module = DataDependent()
    network = Network(
        "data-dependent",
        module,
        preprocessing={},
        preprocess=lambda image: np.zeros((3, 4, 4), np.float32),
        forward=lambda pixels: [module(pixels)],
    )
    with pytest.raises(EncoderError, match=r"can't be exported to OpenVINO.*device='cpu'"):
        build_encoder(network, device="openvino", dtype="float32")
