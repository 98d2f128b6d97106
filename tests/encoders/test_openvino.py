"""Networks run by OpenVINO give the features that torch gives."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import noise_image
from whichgen.encoders.base import build_encoder
from whichgen.encoders.loading import load_encoder
from whichgen.errors import EncoderError


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [noise_image(i, (48, 40), tint=i % 3) for i in range(7)]


def off(found: np.ndarray, expected: np.ndarray) -> float:
    lengths = np.linalg.norm(expected, axis=1)
    return float((np.linalg.norm(found - expected, axis=1) / lengths).max())


@pytest.mark.parametrize("name", ["clip", "clip:patches", "efficientnet_lite0"])
def test_features_are_torch_s_at_every_number_of_images(
    tiny_clip: Path, images: list[Image.Image], name: str
) -> None:
    name = name.replace("clip", str(tiny_clip)) if "clip" in name else name
    there, here = (load_encoder(name, device=device) for device in ("openvino", "cpu"))
    pixels = np.stack([here.preprocess(image) for image in images])
    assert there.block_dims == here.block_dims
    # One identity: features of either may stand in one store.
    assert (there.key, there.device) == (here.key, "openvino")
    for n in (1, 2, 7):
        for found, expected in zip(there.encode(pixels[:n]), here.encode(pixels[:n]), strict=True):
            assert found.dtype == np.float32 and found.shape == expected.shape
            assert off(found, expected) < 2e-5


def test_bfloat16_is_near_float32(tiny_clip: Path, images: list[Image.Image]) -> None:
    narrow = load_encoder(str(tiny_clip), device="openvino", dtype="bfloat16")
    exact = load_encoder(str(tiny_clip), device="cpu")
    pixels = np.stack([exact.preprocess(image) for image in images])
    assert narrow.key != exact.key
    assert off(narrow.encode(pixels)[-1], exact.encode(pixels)[-1]) < 0.05


def test_answers_do_not_change_when_others_are_computed(
    tiny_clip: Path, images: list[Image.Image]
) -> None:
    encoder = load_encoder(str(tiny_clip), device="openvino")
    pixels = np.stack([encoder.preprocess(image) for image in images])
    first = encoder.encode(pixels[:3])
    kept = [block.copy() for block in first]
    encoder.encode(pixels[3:6])
    for block, before in zip(first, kept, strict=True):
        assert np.array_equal(block, before)


def test_where_it_is_not_installed_it_says_what_to_do(
    tiny_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "openvino" else find(name, *a)
    )
    with pytest.raises(EncoderError, match=r"pip install 'whichgen\[openvino\]'"):
        load_encoder(str(tiny_clip), device="openvino")


def test_nothing_is_reported_to_anybody(tiny_clip: Path) -> None:
    load_encoder(str(tiny_clip), device="openvino")
    assert sys.modules["openvino_telemetry"] is None


def test_what_can_not_be_exported_is_one_message() -> None:
    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            if pixels.sum().item() > 0:  # depends on the image: no graph of it
                return pixels.flatten(1)
            return -pixels.flatten(1)

    module = Odd()
    with pytest.raises(EncoderError, match=r"can't be exported to OpenVINO.*--device cpu"):
        build_encoder(
            "odd",
            module,
            preprocessing={},
            preprocess=lambda image: np.zeros((3, 4, 4), np.float32),
            forward=lambda pixels: [module(pixels)],
            device="openvino",
            dtype="float32",
        )
