"""Vision encoders in transformers' format: CLIP, OpenCLIP, SigLIP, DINOv2, ViT and similar models.

One forward pass with ``output_hidden_states`` gives the output of every block. Preprocessing
follows the checkpoint and is bitwise that of transformers' Pillow backend, so that features do not
depend on whether torchvision is installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from whichgen.encoders.base import Encoder, build_encoder, pool_tokens
from whichgen.encoders.fast_preprocessing import speed_up
from whichgen.errors import EncoderError

# transformers is not annotated.
_lib: Any = transformers

# Checkpoints that also hold a text tower: the class that reads only the vision tower.
_VISION_TOWERS = {"clip": "CLIPVisionModel", "siglip": "SiglipVisionModel"}
_CLIP_LIKE = {"clip_vision_model": "CLIPImageProcessorPil"}
_CLS_PARAMETERS = ("cls_token", "class_embedding")
# Weights after the last block, on which no feature depends. A checkpoint may lack them.
_AFTER_BLOCKS = ("pooler.", "head.")
# Settings that features depend on but weights do not show.
_ARCHITECTURE = (
    "hidden_act",
    "image_size",
    "layer_norm_eps",
    "model_type",
    "num_attention_heads",
    "patch_size",
)


def load_huggingface(name: str, *, device: str, dtype: str, patches: bool = False) -> Encoder:
    """Load the vision encoder of a hub checkpoint or of a local folder.

    ``patches`` adds the mean and standard deviation over patch tokens to the CLS token.

    Raises
    ------
    EncoderError
        The checkpoint does not exist, can't be downloaded, is not a vision model or is damaged, or
        a local folder has only pickled weights.
    """
    _lib.logging.disable_progress_bar()
    verbosity = _lib.logging.get_verbosity()
    _lib.logging.set_verbosity_error()
    try:
        _check_folder(Path(name))
        config = _lib.AutoConfig.from_pretrained(name, trust_remote_code=False)
        module, missing = _vision_model(name, config)
        processor = _image_processor(name, config)
    except EncoderError:
        raise
    except Exception as error:  # untrusted files raise many types
        raise EncoderError(_explain_failure(name, error)) from error
    finally:
        _lib.logging.set_verbosity(verbosity)
    missing = {n for n in missing if not _after_blocks(n)}
    if missing:
        raise EncoderError(
            f"{name} lacks {len(missing)} weights of its vision encoder, among them "
            f"{min(missing)}. Use the checkpoint of a complete encoder."
        )
    settings = processor.to_dict()
    # Version and class names do not change a pixel.
    for volatile in ("transformers_version", "processor_class", "_processor_class"):
        settings.pop(volatile, None)
    has_cls = any(n.endswith(_CLS_PARAMETERS) for n, _ in module.named_parameters())
    prefix = 1 + getattr(module.config, "num_register_tokens", 0) if has_cls else 0

    def preprocess(image: Image.Image) -> np.ndarray:
        pixels = processor(images=image, return_tensors="np")["pixel_values"][0]
        return np.asarray(pixels, dtype=np.float32)

    def forward(pixels: torch.Tensor) -> list[torch.Tensor]:
        # The first hidden state is the embedding that enters block 0.
        hidden = module(pixel_values=pixels, output_hidden_states=True).hidden_states[1:]
        return [pool_tokens(h, prefix=prefix, patches=patches) for h in hidden]

    try:
        return build_encoder(
            name,
            module,
            preprocessing=_to_json(settings),
            preprocess=speed_up(preprocess, settings, _native_side(settings)),
            forward=forward,
            device=device,
            dtype=dtype,
            architecture={
                key: _to_json(getattr(module.config, key, None)) for key in _ARCHITECTURE
            },
            unused=[n for n in module.state_dict() if _after_blocks(n)],
            native_side=_native_side(settings),
            patches=patches,
        )
    except (TypeError, ValueError) as error:
        # The forward pass needs more than pixels (NaFlex models, detectors, text models).
        raise EncoderError(
            f"{name} ({module.config.model_type}) can't compute block features from pixels alone "
            f"({error}). Choose a CLIP, SigLIP, DINOv2 or ViT checkpoint."
        ) from error


def _check_folder(folder: Path) -> None:
    """Reject folders with special files or with weights in other folders."""
    if not folder.is_dir():
        return
    invalid = [f.name for f in folder.iterdir() if f.exists() and not (f.is_file() or f.is_dir())]
    index = folder / "model.safetensors.index.json"
    if index.is_file() and not invalid:
        files = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        invalid = [p for p in files if Path(p).name != p or not p.endswith(".safetensors")]
    if invalid:
        raise EncoderError(
            f"{folder}: {invalid[0]!r} is not a regular file of this folder. Copy the checkpoint "
            "again."
        )


def _native_side(settings: Mapping[str, Any]) -> int:
    """Return the side of a square image that the processor does not resize; 0 if unknown."""
    step = "size" if settings.get("do_resize") else "crop_size"
    size = settings.get(step) or {}
    sides = {size[key] for key in ("shortest_edge", "height", "width") if size.get(key)}
    return int(sides.pop()) if len(sides) == 1 else 0


def _after_blocks(weight: str) -> bool:
    return weight.startswith(_AFTER_BLOCKS) or weight.split(".", 1)[-1].startswith(_AFTER_BLOCKS)


def _vision_model(name: str, config: Any) -> tuple[Any, set[str]]:
    """Load the vision tower, and return the names of weights that the checkpoint lacks."""
    loader = (
        getattr(_lib, _VISION_TOWERS[config.model_type])
        if config.model_type in _VISION_TOWERS
        else _lib.AutoModel
    )
    options = {
        "dtype": torch.float32,
        "output_loading_info": True,
        # Never run code of a checkpoint; by default transformers would prompt.
        "trust_remote_code": False,
    }
    try:
        module, info = loader.from_pretrained(name, use_safetensors=True, **options)
    except OSError:
        if Path(name).is_dir():
            raise
        # An old hub checkpoint without safetensors: transformers unpickles tensors only.
        module, info = loader.from_pretrained(name, weights_only=True, **options)
    missing = set(info["missing_keys"])
    if loader is _lib.AutoModel and hasattr(config, "vision_config"):
        prefix = "vision_model."
        missing = {n.removeprefix(prefix) for n in missing if n.startswith(prefix)}
        return getattr(module, "vision_model", module), missing
    return module, missing


def _image_processor(name: str, config: Any) -> Any:
    try:
        return _lib.AutoImageProcessor.from_pretrained(name, backend="pil", trust_remote_code=False)
    except ValueError:
        # A vision tower saved on its own: transformers maps only the whole model's type.
        if config.model_type not in _CLIP_LIKE:
            raise
        return getattr(_lib, _CLIP_LIKE[config.model_type]).from_pretrained(name)


def _to_json(value: Any) -> Any:
    """Convert settings to JSON values: enums to strings, tuples to lists."""
    if isinstance(value, dict):
        return {str(k): _to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(v) for v in value]
    if isinstance(value, int | float | str | bool) or value is None:
        return value
    return str(value)


def _explain_failure(name: str, error: Exception) -> str:
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if "trust_remote_code" in str(error):
        return (
            f"{name} needs its own code, which whichgen does not run. Choose a checkpoint of an "
            "architecture that transformers supports."
        )
    if Path(name).is_dir():
        files = {p.name for p in Path(name).iterdir()}
        if "pytorch_model.bin" in files and not any(f.endswith(".safetensors") for f in files):
            return (
                f"{name} has pickled weights, which whichgen does not load. Convert them with "
                "`model.save_pretrained(folder, safe_serialization=True)`."
            )
        return (
            f"{name} is not a vision encoder in transformers' format ({first_line}). The folder "
            "needs config.json, model.safetensors and preprocessor_config.json."
        )
    return (
        f"encoder {name!r} is neither a local folder nor in the hub's cache, and the download "
        f"failed ({first_line}). Check the name and the network, give --backbone a local folder, "
        "or use --backbone efficientnet_lite0, which comes from PyPI."
    )
