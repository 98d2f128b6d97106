"""Encoders in transformers' format: outputs of all blocks in one forward pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from whichgen.encoders import load_encoder
from whichgen.encoders.encoder import Encoder
from whichgen.errors import EncoderError

TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
TINY_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 99,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@dataclass(frozen=True)
class Kind:
    """A kind of checkpoint: how to make one, and where its blocks and CLS token are."""

    make: Callable[[], Any]
    processor: Callable[[], Any]
    blocks: str
    has_cls: bool = True


def _crop(name: str) -> Callable[[], Any]:
    return lambda: getattr(transformers, name)(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )


def _square(name: str) -> Callable[[], Any]:
    return lambda: getattr(transformers, name)(size={"height": 32, "width": 32})


def _clip() -> Any:
    config = transformers.CLIPConfig(
        text_config={**TINY_TEXT, "max_position_embeddings": 8}, vision_config=TINY
    )
    return transformers.CLIPModel(config)


def _siglip() -> Any:
    config = transformers.SiglipConfig(text_config=TINY_TEXT, vision_config=TINY)
    return transformers.SiglipModel(config)


KINDS = {
    "clip vision tower": Kind(
        lambda: transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**TINY)),
        _crop("CLIPImageProcessorPil"),
        "encoder.layers",
    ),
    "whole clip": Kind(_clip, _crop("CLIPImageProcessorPil"), "vision_model.encoder.layers"),
    "siglip vision tower": Kind(
        lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**TINY)),
        _square("SiglipImageProcessorPil"),
        "encoder.layers",
        has_cls=False,
    ),
    "whole siglip": Kind(
        _siglip, _square("SiglipImageProcessorPil"), "vision_model.encoder.layers", has_cls=False
    ),
    "dinov2": Kind(
        lambda: transformers.Dinov2Model(transformers.Dinov2Config(**TINY)),
        _crop("BitImageProcessorPil"),
        "encoder.layer",
    ),
    "dinov2 with registers": Kind(
        lambda: transformers.Dinov2WithRegistersModel(
            transformers.Dinov2WithRegistersConfig(**TINY)
        ),
        _crop("BitImageProcessorPil"),
        "encoder.layer",
    ),
    "vit": Kind(
        lambda: transformers.ViTModel(transformers.ViTConfig(**TINY)),
        _square("ViTImageProcessorPil"),
        "layers",
    ),
    "vit classifier": Kind(
        lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**TINY)),
        _square("ViTImageProcessorPil"),
        "vit.layers",
    ),
}


@dataclass(frozen=True)
class Saved:
    """A checkpoint in a folder, the model it was saved from, and its kind."""

    folder: Path
    model: Any
    kind: Kind


@pytest.fixture(scope="module", params=KINDS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """One tiny random checkpoint of each kind."""
    kind = KINDS[request.param]
    folder = tmp_path_factory.mktemp("saved") / "model"
    torch.manual_seed(0)
    model = kind.make().eval()
    for parameter in model.parameters():
        # The small initial weights would make each block nearly the identity.
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    kind.processor().save_pretrained(folder)
    return Saved(folder, model, kind)


@pytest.fixture(scope="module")
def pixels(noise: Callable[..., Image.Image]) -> np.ndarray:
    """Four preprocessed images of 32 × 32: float32 (4, 3, 32, 32)."""
    images = [np.asarray(noise(i), np.float32).transpose(2, 0, 1) / 128 - 1 for i in range(4)]
    return np.stack(images)


def _hooked(saved: Saved, pixels: np.ndarray) -> list[np.ndarray]:
    """Outputs of the blocks of the original model, recorded by forward hooks."""
    outputs: list[torch.Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    handles = [b.register_forward_hook(keep) for b in saved.model.get_submodule(saved.kind.blocks)]
    whole = hasattr(saved.model, "vision_model")
    with torch.inference_mode():
        (saved.model.vision_model if whole else saved.model)(pixel_values=torch.from_numpy(pixels))
    for handle in handles:
        handle.remove()
    pool = (lambda h: h[:, 0]) if saved.kind.has_cls else (lambda h: h.mean(dim=1))
    return [pool(output).numpy() for output in outputs]


def test_features_are_the_blocks_outputs_by_forward_hooks(saved: Saved, pixels: np.ndarray) -> None:
    encoder = load_encoder(str(saved.folder))
    expected = _hooked(saved, pixels)
    blocks = encoder.encode(pixels)
    assert encoder.block_dims == (32, 32, 32)
    assert len(blocks) == len(expected) == 3
    for ours, theirs in zip(blocks, expected, strict=True):
        assert ours.dtype == np.float32
        assert ours.shape == (4, 32)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    # The outputs of different blocks and images differ, so the comparison above is meaningful.
    assert not np.allclose(blocks[0], blocks[1], atol=1e-2)
    assert not np.allclose(blocks[2][0], blocks[2][1], atol=1e-3)


def test_the_key_ignores_weights_after_the_blocks(saved: Saved, pixels: np.ndarray) -> None:
    torch.manual_seed(1)
    first = load_encoder(str(saved.folder))
    torch.manual_seed(2)
    second = load_encoder(str(saved.folder))
    assert first.key == second.key
    for a, b in zip(first.encode(pixels), second.encode(pixels), strict=True):
        assert np.array_equal(a, b)


def test_preprocessing_is_that_of_the_checkpoint(saved: Saved, noise: Any) -> None:
    encoder = load_encoder(str(saved.folder))
    image = noise(1, (60, 45))
    expected = saved.kind.processor()(images=image, return_tensors="np")["pixel_values"][0]
    pixels = encoder.preprocess(image)
    assert pixels.dtype == np.float32
    assert pixels.shape == (3, 32, 32)
    assert np.array_equal(pixels, expected)


@pytest.fixture
def copy(tiny_clip: Path, tmp_path: Path) -> Path:
    """A copy of the tiny CLIP that a test may change."""
    return Path(shutil.copytree(tiny_clip, tmp_path / "copy"))


def _rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_complete_clip_gives_its_vision_tower(tmp_path: Path, pixels: np.ndarray) -> None:
    torch.manual_seed(0)
    whole = _clip()
    processor = _crop("CLIPImageProcessorPil")()
    for name, model in (("whole", whole), ("tower", whole.vision_model)):
        model.save_pretrained(tmp_path / name)
        processor.save_pretrained(tmp_path / name)
    first, second = (load_encoder(str(tmp_path / name)) for name in ("whole", "tower"))
    assert first.weights_hash == second.weights_hash
    for a, b in zip(first.encode(pixels), second.encode(pixels), strict=True):
        assert np.array_equal(a, b)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """List of the batch sizes of all passes through the attention of CLIP blocks."""
    from transformers.models.clip.modeling_clip import CLIPAttention

    batch_sizes: list[int] = []
    original = CLIPAttention.forward

    def forward(self: Any, hidden_states: torch.Tensor, *args: Any, **options: Any) -> Any:
        batch_sizes.append(len(hidden_states))
        return original(self, hidden_states, *args, **options)

    monkeypatch.setattr(CLIPAttention, "forward", forward)
    return batch_sizes


def test_all_blocks_come_from_one_pass(
    tiny_clip: Path, passes: list[int], pixels: np.ndarray
) -> None:
    encoder = load_encoder(str(tiny_clip))
    passes.clear()
    encoder.encode(pixels)
    assert passes == [4, 4, 4]  # three blocks, each once


def test_an_image_alone_or_in_a_batch_has_the_same_features(
    tiny_clip: Path, pixels: np.ndarray
) -> None:
    encoder = load_encoder(str(tiny_clip))
    together = encoder.encode(pixels)
    for i in range(len(pixels)):
        for alone, batch in zip(encoder.encode(pixels[i : i + 1]), together, strict=True):
            np.testing.assert_allclose(alone[0], batch[i], rtol=1e-5, atol=2e-6)


def test_repeated_encoding_is_bitwise_identical(tiny_clip: Path, pixels: np.ndarray) -> None:
    first, second = load_encoder(str(tiny_clip)), load_encoder(str(tiny_clip))
    for encoder in (first, second):
        for a, b in zip(first.encode(pixels), encoder.encode(pixels), strict=True):
            assert np.array_equal(a, b)


def test_bfloat16_is_close_to_float32_with_another_key(tiny_clip: Path, pixels: np.ndarray) -> None:
    exact = load_encoder(str(tiny_clip))
    rough = load_encoder(str(tiny_clip), dtype="bfloat16")
    assert exact.weights_hash == rough.weights_hash
    assert exact.key != rough.key
    for a, b in zip(exact.encode(pixels), rough.encode(pixels), strict=True):
        assert b.dtype == np.float32
        distance = np.linalg.norm(a - b, axis=1) / np.linalg.norm(a, axis=1)
        assert (distance < 0.03).all()
        assert (distance > 0).all()


def _loaded(folder: Path) -> Encoder:
    return load_encoder(str(folder))


def test_the_hash_depends_on_weights_and_not_on_the_folder(tiny_clip: Path, copy: Path) -> None:
    before = _loaded(tiny_clip)
    assert _loaded(copy).weights_hash == before.weights_hash
    assert _loaded(copy).key == before.key

    def change(tensors: dict[str, torch.Tensor]) -> None:
        (name,) = (n for n in tensors if n.endswith("layers.1.mlp.fc1.bias"))
        tensors[name][3] += 1e-6

    _rewrite(copy, change)
    assert _loaded(copy).weights_hash != before.weights_hash
    assert _loaded(copy).key != before.key


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("config.json", '"quick_gelu"', '"gelu"'),
        ("config.json", '"num_attention_heads": 4', '"num_attention_heads": 2'),
        ("preprocessor_config.json", '"resample": 3', '"resample": 2'),
    ],
)
def test_what_changes_features_changes_the_key(
    tiny_clip: Path, copy: Path, file: str, old: str, new: str
) -> None:
    text = (copy / file).read_text()
    assert old in text
    (copy / file).write_text(text.replace(old, new))
    assert _loaded(copy).key != _loaded(tiny_clip).key


def test_clip_b_16_has_twelve_blocks_of_768(tmp_path: Path) -> None:
    config = transformers.CLIPVisionConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        image_size=224,
        patch_size=16,
    )
    with torch.device("meta"):  # its own initialization takes seconds
        model = transformers.CLIPVisionModel(config)
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        parameter.data.uniform_(-0.02, 0.02)
    model.save_pretrained(tmp_path)
    transformers.CLIPImageProcessorPil().save_pretrained(tmp_path)
    encoder = load_encoder(str(tmp_path))
    assert encoder.block_dims == (768,) * 12
    assert encoder.describe()["blocks"] == 12
    pixels = encoder.preprocess(Image.new("RGB", (300, 200)))
    assert pixels.shape == (3, 224, 224)
    blocks = encoder.encode(pixels[None])
    assert [b.shape for b in blocks] == [(1, 768)] * 12
    assert all(np.isfinite(b).all() for b in blocks)


def test_pickled_weights_in_a_folder_are_rejected(copy: Path) -> None:
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(
        EncoderError, match=r"contains pickled weights, which whichgen does not load"
    ):
        _loaded(copy)


def test_missing_weights_are_rejected(copy: Path) -> None:
    _rewrite(copy, lambda t: [t.pop(n) for n in list(t) if "layers.2.mlp" in n])
    with pytest.raises(EncoderError, match=r"lacks 4 weights .*layers\.2\.mlp.*complete encoder"):
        _loaded(copy)


def test_damaged_weights_are_rejected(copy: Path) -> None:
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(EncoderError, match="can't be loaded as a vision encoder in"):
        _loaded(copy)


def test_weights_of_another_shape_are_rejected(copy: Path) -> None:
    text = (copy / "config.json").read_text()
    (copy / "config.json").write_text(text.replace('"patch_size": 8', '"patch_size": 16'))
    with pytest.raises(EncoderError, match="can't be loaded as a vision encoder in"):
        _loaded(copy)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_missing_config_files_are_reported(copy: Path, file: str) -> None:
    (copy / file).unlink()
    with pytest.raises(EncoderError, match=r"must contain config\.json, prep.* and intact weights"):
        _loaded(copy)


def test_a_text_model_is_rejected(tmp_path: Path) -> None:
    config = transformers.BertConfig(**TINY_TEXT)
    transformers.BertModel(config).save_pretrained(tmp_path)
    _square("ViTImageProcessorPil")().save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="can't compute block features from pixels alone"):
        _loaded(tmp_path)


@pytest.mark.parametrize("name", ["no-one/no-such-model", "./no/such/folder", "/no/such/folder"])
def test_an_unknown_name_is_reported_with_alternatives(name: str) -> None:
    with pytest.raises(EncoderError) as caught:
        load_encoder(name)
    message = str(caught.value)
    assert name in message
    assert "is not a local folder, and can't be loaded from the hub or its cache" in message
    assert "the encoder efficientnet_lite0" in message
    assert "\n" not in message
