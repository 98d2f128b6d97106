"""OpenVINO, the default on CPUs, computes the same features as torch."""

from __future__ import annotations

import importlib
import logging
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import noise_image
from whichgen.encoders import devices
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.encoders.network import Network, build_encoder
from whichgen.encoders.weights_hash import hash_weights
from whichgen.errors import EncoderError

if find_spec("openvino") is None:  # importorskip would import it with its telemetry
    pytest.skip("OpenVINO has no wheel for this platform", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache folder of this module, so that each network is converted once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHICHGEN_CACHE", str(folder))
        yield folder / "weights"


@pytest.fixture
def automatic(monkeypatch: pytest.MonkeyPatch) -> None:
    """``auto`` on a machine without a GPU."""
    monkeypatch.delenv("WHICHGEN_DEVICE")
    monkeypatch.setattr(devices, "_GPU_FILES", ())


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [noise_image(i, (48, 40), tint=i % 3) for i in range(7)]


def relative_error(features: np.ndarray, expected: np.ndarray) -> float:
    lengths = np.linalg.norm(expected, axis=1)
    return float((np.linalg.norm(features - expected, axis=1) / lengths).max())


@pytest.mark.parametrize(
    "name",
    ["clip", "clip:patches", "dinov2_small", "dinov2_small:patches:crops", "efficientnet_lite0"],
)
def test_features_are_those_of_torch_for_every_batch_size(
    tiny_clip: Path, images: list[Image.Image], name: str
) -> None:
    name = name.replace("clip", str(tiny_clip)) if "clip" in name else name
    openvino, torch_cpu = (load_encoder(name, device=device) for device in ("openvino", "cpu"))
    pixels = np.stack([torch_cpu.preprocess(image) for image in images])
    assert openvino.block_dims == torch_cpu.block_dims
    # Both share a store.
    assert (openvino.key, openvino.device) == (torch_cpu.key, "openvino")
    for n in (1, 2, 7):
        pairs = zip(openvino.encode(pixels[:n]), torch_cpu.encode(pixels[:n]), strict=True)
        for features, expected in pairs:
            assert features.dtype == np.float32 and features.shape == expected.shape
            assert relative_error(features, expected) < 1e-5


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


@pytest.mark.parametrize("n", [33, 64, 75])
def test_large_batches_are_split_into_chunks_of_one_size(
    tiny_clip: Path, images: list[Image.Image], n: int
) -> None:
    openvino, torch_cpu = (load_encoder(str(tiny_clip), device=d) for d in ("openvino", "cpu"))
    pixels = np.stack([openvino.preprocess(images[i % 7]) for i in range(n)])
    features = openvino.encode(pixels)[-1]
    assert relative_error(features, torch_cpu.encode(pixels)[-1]) < 1e-5
    # Rounding does not depend on the position in the batch.
    assert np.array_equal(features[7:], features[:-7])


@pytest.mark.usefixtures("automatic")
def test_auto_is_openvino_where_it_is_installed(
    tiny_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_encoder(str(tiny_clip)).device == "openvino"
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert load_encoder(str(tiny_clip)).device == "cpu"


def test_a_missing_package_is_reported(tiny_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EncoderError, match=r"device='cpu'.*pip install openvino"):
        load_encoder(str(tiny_clip), device="openvino")


def test_telemetry_is_disabled(tiny_clip: Path) -> None:
    load_encoder(str(tiny_clip), device="openvino")
    module = importlib.import_module("openvino.tools.ovc.telemetry_utils")
    assert module.tm.__name__ == "openvino.tools.ovc.telemetry_stub"
    assert "openvino_telemetry" not in sys.modules


def linear_network(seed: int = 0) -> tuple[Network, list[int]]:
    """A network of one block, and a list with one item per call of its ``load``."""
    torch.manual_seed(seed)
    module, loads = torch.nn.Linear(48, 5), []

    def load() -> tuple[torch.nn.Module, object]:
        loads.append(1)
        return module, lambda pixels: [module(pixels.flatten(1))]

    def preprocess(image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((4, 4)), np.float32).transpose(2, 0, 1) / 255

    return Network("linear", hash_weights(module), {}, preprocess, load), loads


def encode_with(network: Network, images: list[Image.Image], device: str) -> np.ndarray:
    encoder = build_encoder(network, device=device, dtype="float32")
    return encoder.encode(np.stack([encoder.preprocess(image) for image in images]))[0]


@pytest.mark.parametrize("damage", ["", "flipped bit", "truncated", "missing"])
def test_a_conversion_is_cached_and_a_damaged_one_is_repeated(
    tmp_path: Path, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setenv("WHICHGEN_CACHE", str(tmp_path))
    network, loads = linear_network()
    expected = encode_with(network, images, "openvino")
    assert len(loads) == 1
    (file,) = (tmp_path / "weights").glob("*.bin")
    data = file.read_bytes()
    if damage == "flipped bit":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "truncated":
        file.write_bytes(data[:-4])
    elif damage == "missing":
        file.unlink()
    assert np.array_equal(encode_with(network, images, "openvino"), expected)
    assert len(loads) == (2 if damage else 1)
    assert file.read_bytes() == data
    # Other weights are cached in another file.
    assert not np.allclose(encode_with(linear_network(1)[0], images, "openvino"), expected)
    assert np.array_equal(encode_with(network, images, "openvino"), expected)


def test_an_unwritable_cache_costs_only_time(
    tmp_path: Path, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("WHICHGEN_CACHE", str(file))
    network, loads = linear_network()
    expected = encode_with(network, images, "cpu")
    assert relative_error(encode_with(network, images, "openvino"), expected) < 1e-5
    assert len(loads) == 2


class DataDependent(torch.nn.Module):
    """A network that is not a static graph."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        return [pixels.flatten(1) if pixels.sum().item() > 0 else -pixels.flatten(1)]


@pytest.fixture
def unsupported() -> Network:
    """A network that OpenVINO can't run."""
    module = DataDependent()
    return Network(
        "data-dependent",
        hash_weights(module),
        preprocessing={},
        preprocess=lambda image: np.asarray(image.resize((4, 4)), np.float32).transpose(2, 0, 1),
        load=lambda: (module, module),
    )


def test_a_network_that_openvino_cannot_run_is_reported(unsupported: Network) -> None:
    with pytest.raises(EncoderError, match=r"OpenVINO can't run .*data-dependent.*device='cpu'"):
        build_encoder(unsupported, device="openvino", dtype="float32")


@pytest.mark.usefixtures("automatic")
def test_auto_falls_back_to_torch_with_a_log_message(
    unsupported: Network, images: list[Image.Image], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "whichgen"):
        encoder: Encoder = build_encoder(unsupported, device="auto", dtype="float32")
    assert encoder.device == "cpu"
    assert "Running the encoder data-dependent with torch: OpenVINO can't run" in caplog.text
    assert encoder.encode(np.ones((2, 3, 4, 4), np.float32))[0].tolist() == [[1.0] * 48] * 2
