"""Untrusted checkpoints: their code never runs, whatever the folder contains."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from whichgen.encoders import huggingface
from whichgen.encoders.loading import load_encoder
from whichgen.errors import EncoderError


class Bomb:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._canary),)


@pytest.fixture
def folder(tiny_clip: Path, tmp_path: Path) -> Path:
    """A copy of the tiny CLIP tower, which tests make malicious."""
    return shutil.copytree(tiny_clip, tmp_path / "checkpoint")


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """Path of a file that malicious code would create."""
    return tmp_path / "canary"


def change(file: Path, **values: Any) -> None:
    """Overwrite fields of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def assert_rejected(folder: Path, message: str) -> None:
    with pytest.raises(EncoderError, match=message) as caught:
        load_encoder(str(folder), device="cpu")
    assert "\n" not in str(caught.value)


def test_the_payload_runs_when_a_pickle_is_loaded(canary: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(canary)))
    assert canary.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "tf_model.h5"])
@pytest.mark.parametrize("kind", ["bare", "torch"])
def test_pickled_weights_are_never_loaded(folder: Path, canary: Path, name: str, kind: str) -> None:
    (folder / "model.safetensors").unlink()
    if kind == "bare":
        (folder / name).write_bytes(pickle.dumps(Bomb(canary)))
    else:
        torch.save({"x": Bomb(canary)}, folder / name)
        with zipfile.ZipFile(folder / name) as file:
            assert any(b"canary" in file.read(n) for n in file.namelist())
    assert_rejected(
        folder,
        "contains pickled weights, which"
        if name.endswith("bin")
        else "can't be loaded as a vision encoder",
    )
    assert not canary.exists()


def test_a_pickled_hub_checkpoint_may_contain_only_tensors(
    folder: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"x": Bomb(canary)}, folder / "pytorch_model.bin")

    class Elsewhere:
        """A checkpoint of the hub, to whichgen: no folder."""

        def __init__(self, _: str) -> None: ...

        def is_dir(self) -> bool:
            return False

    monkeypatch.setattr(huggingface, "Path", Elsewhere)
    assert_rejected(folder, "is not a local folder, and can't be loaded from the hub or its cache")
    assert not canary.exists()


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("kind", ["unknown-to-transformers", "clip_vision_model"])
def test_code_in_a_folder_is_never_run(
    folder: Path, canary: Path, monkeypatch: pytest.MonkeyPatch, file: str, kind: str
) -> None:
    # transformers would ask a user at a terminal for permission.
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    (folder / "evil.py").write_text(
        f"import os\nos.mkdir({str(canary)!r})\n"
        "from transformers import PretrainedConfig, PreTrainedModel\n"
        "class Evil(PretrainedConfig): model_type = 'evil'\n"
        "class EvilModel(PreTrainedModel): config_class = Evil\n"
    )
    mapped = {
        "AutoConfig": "evil.Evil",
        "AutoModel": "evil.EvilModel",
        "AutoImageProcessor": "evil.EvilModel",
    }
    change(folder / file, auto_map=mapped)
    if kind != "clip_vision_model":
        change(folder / "config.json", model_type=kind)
        change(folder / "preprocessor_config.json", image_processor_type="EvilProcessor")
        assert_rejected(folder, "requires custom code|can't be loaded as a vision encoder")
    else:  # transformers uses its own code for this architecture
        load_encoder(str(folder), device="cpu")
    assert not canary.exists()


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_size": 0},
        {"hidden_size": -32},
        {"hidden_size": "32"},
        {"num_attention_heads": 0},
        {"num_hidden_layers": -1},
        {"num_hidden_layers": None},
        {"patch_size": 0},
        {"image_size": [32, 32, 32]},
        {"hidden_act": "os.system"},
        {"hidden_act": {"a": 1}},
        {"layer_norm_eps": "x"},
        {"dtype": "torch.hub"},
        {"model_type": ["clip"]},
        {"quantization_config": {"quant_method": "x"}},
        {"architectures": 7},
    ],
)
def test_an_invalid_config_is_an_encoder_error_or_harmless(
    folder: Path, values: dict[str, Any]
) -> None:
    change(folder / "config.json", **values)
    try:
        load_encoder(str(folder), device="cpu")
    except EncoderError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[" * 100_000, b"[]", b"null", b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_an_invalid_file_is_an_encoder_error(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(EncoderError) as caught:
        load_encoder(str(folder), device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_pipes_and_devices_do_not_block(folder: Path, name: str, kind: str) -> None:
    (folder / name).unlink()
    if kind == "pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to("/dev/zero")
    assert_rejected(folder, "is neither a regular file nor a folder")


@pytest.mark.parametrize("part", ["../outside.safetensors", "/outside.safetensors", "part.bin"])
def test_weights_outside_the_folder_are_rejected(folder: Path, canary: Path, part: str) -> None:
    whole = folder / "model.safetensors"
    weights = load_file(whole)
    whole.rename(folder.parent / "outside.safetensors")
    torch.save({"x": Bomb(canary)}, folder / "part.bin")
    index = folder / "model.safetensors.index.json"
    absolute = part.replace("/outside", f"{folder.parent}/outside") if part[0] == "/" else part
    index.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(weights, absolute)}))
    assert_rejected(folder, "not a safetensors file in the folder")
    assert not canary.exists()


def test_sharded_weights_are_loaded(folder: Path) -> None:
    whole = load_encoder(str(folder), device="cpu")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    index = folder / "model.safetensors.index.json"
    parts = dict.fromkeys(weights, "part.safetensors")
    index.write_text(json.dumps({"metadata": {}, "weight_map": parts}))
    assert load_encoder(str(folder), device="cpu").weights_hash == whole.weights_hash


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"weight_map": 1}', b"[" * 100_000])
def test_an_invalid_index_is_an_encoder_error(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors.index.json").write_bytes(content)
    assert_rejected(folder, "can't be loaded as a vision encoder")
