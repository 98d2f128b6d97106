"""Vision encoders in transformers' format: CLIP, OpenCLIP, SigLIP, DINOv2, ViT and their kin.

Every block's output comes out of one pass by ``output_hidden_states``. Preprocessing is the
checkpoint's own, always by transformers' Pillow backend or to the bit as there, so that features do
not depend on whether torchvision is installed.
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
from whichgen.encoders.fast_preprocessing import straightened
from whichgen.errors import EncoderError

# transformers' own annotations stop short of these names.
_lib: Any = transformers

# Checkpoints that hold a text tower as well: the class that reads the vision tower alone.
_VISION_TOWERS = {"clip": "CLIPVisionModel", "siglip": "SiglipVisionModel"}
_CLIP_LIKE = {"clip_vision_model": "CLIPImageProcessorPil"}
_CLS_PARAMETERS = ("cls_token", "class_embedding")
# Weights after the last block. A checkpoint may lack them (they are random then) or hold them; no
# feature depends on them.
_AFTER_BLOCKS = ("pooler.", "head.")
# What features depend on and weights do not tell.
_ARCHITECTURE = (
    "hidden_act",
    "image_size",
    "layer_norm_eps",
    "model_type",
    "num_attention_heads",
    "patch_size",
)


def load_huggingface(name: str, *, device: str, dtype: str, patches: bool = False) -> Encoder:
    """Loads the vision encoder of a hub checkpoint or of a local folder.

    With ``patches`` mean and standard deviation over patch tokens stand beside the CLS token.

    Raises
    ------
    EncoderError
        Not found (and the hub can't be reached), not a vision model, weights missing or damaged, or
        only pickled weights in a local folder.
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
    except Exception as error:  # configs and weights of strangers raise whatever they come upon
        raise EncoderError(_why(name, error)) from error
    finally:
        _lib.logging.set_verbosity(verbosity)
    lost = sorted(n for n in missing if not _after_blocks(n))
    if lost:
        raise EncoderError(
            f"{name} lacks {len(lost)} weights of its vision encoder, among them {lost[0]}; they "
            "would be random. Take the checkpoint of a whole encoder."
        )
    settings = processor.to_dict()
    # The library's own version and class spelling do not change a pixel.
    for volatile in ("transformers_version", "processor_class", "_processor_class"):
        settings.pop(volatile, None)
    has_cls = any(n.endswith(_CLS_PARAMETERS) for n, _ in module.named_parameters())
    prefix = 1 + getattr(module.config, "num_register_tokens", 0) if has_cls else 0

    def processed(image: Image.Image) -> np.ndarray:
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
            preprocessing=_plain(settings),
            preprocess=straightened(processed, settings, _native_side(settings)),
            forward=forward,
            device=device,
            dtype=dtype,
            architecture={key: _plain(getattr(module.config, key, None)) for key in _ARCHITECTURE},
            unused=[n for n in module.state_dict() if _after_blocks(n)],
            native_side=_native_side(settings),
            patches=patches,
        )
    except (TypeError, ValueError) as error:
        # Its forward pass wants more than pixels (NaFlex models, detectors, text models).
        raise EncoderError(
            f"{name} ({module.config.model_type}) does not give block features from pixels alone "
            f"({error}). Choose a CLIP, SigLIP, DINOv2 or ViT checkpoint."
        ) from error


def _check_folder(folder: Path) -> None:
    """Refuses a folder of which something would be waited for, or be read from elsewhere."""
    if not folder.is_dir():
        return
    odd = [f.name for f in folder.iterdir() if f.exists() and not (f.is_file() or f.is_dir())]
    index = folder / "model.safetensors.index.json"
    if index.is_file() and not odd:
        parts = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        odd = [p for p in parts if Path(p).name != p or not p.endswith(".safetensors")]
    if odd:
        raise EncoderError(
            f"{folder}: {odd[0]!r} is no file of weights in this folder. Copy the checkpoint anew."
        )


def _native_side(settings: Mapping[str, Any]) -> int:
    """The side of a square image that a processor of these settings does not resize."""
    step = "size" if settings.get("do_resize") else "crop_size"
    size = settings.get(step) or {}
    sides = {size[key] for key in ("shortest_edge", "height", "width") if size.get(key)}
    return int(sides.pop()) if len(sides) == 1 else 0


def _after_blocks(weight: str) -> bool:
    return weight.startswith(_AFTER_BLOCKS) or weight.split(".", 1)[-1].startswith(_AFTER_BLOCKS)


def _vision_model(name: str, config: Any) -> tuple[Any, set[str]]:
    """The vision tower, and the names of those of its weights that the checkpoint lacks."""
    loader = (
        getattr(_lib, _VISION_TOWERS[config.model_type])
        if config.model_type in _VISION_TOWERS
        else _lib.AutoModel
    )
    options = {
        "dtype": torch.float32,
        "output_loading_info": True,
        # Code that a checkpoint brings is never run; without this, transformers would ask.
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


def _plain(value: Any) -> Any:
    """Settings as JSON values (enums and tuples as what they stand for)."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, int | float | str | bool) or value is None:
        return value
    return str(value)


def _why(name: str, error: Exception) -> str:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "trust_remote_code" in str(error):
        return (
            f"{name} brings code of its own, which whichgen does not run. Choose a checkpoint that "
            "transformers knows."
        )
    if Path(name).is_dir():
        files = {p.name for p in Path(name).iterdir()}
        if "pytorch_model.bin" in files and not any(f.endswith(".safetensors") for f in files):
            return (
                f"{name} holds its weights as a pickle, which whichgen does not load. Save it anew "
                "with `model.save_pretrained(folder, safe_serialization=True)`."
            )
        return (
            f"{name} is not a vision encoder in transformers' format ({first}). It needs "
            "config.json, model.safetensors and preprocessor_config.json."
        )
    return (
        f"encoder {name!r} can't be loaded: it is neither a local folder nor in the hub's cache, "
        f"and fetching it failed ({first}). Check the name and the network, give --backbone a "
        "local folder, or use --backbone efficientnet_lite0, which comes from PyPI."
    )
