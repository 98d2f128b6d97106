"""Vision networks, and their conversion to encoders."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from whichgen.encoders.devices import OPENVINO, resolve_device
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.openvino import load_openvino_encode
from whichgen.errors import EncoderError, OpenVinoError
from whichgen.io.run_metadata import hash_parts

if TYPE_CHECKING:
    import torch

    from whichgen.encoders.cuda_graphs import Forward

#: Precisions in which a network can run.
DTYPES = ("float32", "bfloat16")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Network:
    """A vision network and its preprocessing; :func:`build_encoder` converts it to an encoder.

    Parameters
    ----------
    name, weights_hash, preprocessing, preprocess, native_side
        See :class:`Encoder`. :func:`~whichgen.encoders.weights_hash.hash_weights` computes the
        hash.
    load
        Function that returns the network and its forward pass: a function from a float tensor
        (n, 3, H, W) on the network's device to the output of each block b, which is a token
        sequence (n, tokens, d_b), a feature map (n, d_b, h, w) or one vector per image (n, d_b).
        It is not called if OpenVINO uses a cached conversion of the network.
        :func:`build_encoder` freezes the network and sets it to evaluation mode.
    prefix
        Number of tokens before the patch tokens
        (:func:`~whichgen.encoders.pooling.pool_tokens`).
    """

    name: str
    weights_hash: str
    preprocessing: Mapping[str, Any]
    preprocess: Callable[[Image.Image], np.ndarray]
    load: Callable[[], tuple[torch.nn.Module, Forward]]
    prefix: int = 0
    native_side: int = 0


def build_encoder(network: Network, *, device: str, dtype: str, patches: bool = False) -> Encoder:
    """Build an encoder from a network.

    If ``device`` is ``auto`` and :func:`~whichgen.encoders.openvino.load_openvino_encode` raises
    :class:`~whichgen.errors.OpenVinoError`, torch runs the network on the CPU.

    Parameters
    ----------
    network
        The network.
    device
        ``auto``, ``cpu``, ``cuda``, ``openvino``, …
        (:func:`~whichgen.encoders.devices.resolve_device`).
    dtype
        Precision of the arithmetic: ``float32`` or ``bfloat16``.
    patches
        Concatenate the CLS token (if any), and the mean and the standard deviation over patch
        tokens (:func:`~whichgen.encoders.pooling.pool_tokens`).

    Raises
    ------
    EncoderError
        The precision is unknown; the device is not available, or not allowed in deterministic mode;
        ``device`` is ``openvino``, and OpenVINO is not installed or can't convert or compile the
        network; :attr:`Network.load` raises this error; or the network requires inputs other than
        pixels.
    """
    if dtype not in DTYPES:
        raise EncoderError(f"unknown dtype {dtype!r}. Choose from {', '.join(DTYPES)}.")
    blank = network.preprocess(Image.new("RGB", (256, 256)))[None]

    def load_blocks() -> torch.nn.Module:
        from whichgen.encoders.pooling import PooledBlocks

        module, forward = network.load()
        return PooledBlocks(module, forward, prefix=network.prefix, patches=patches)

    runtime = resolve_device(device)
    if runtime == OPENVINO:
        key = hash_parts([network.weights_hash, str(network.prefix), str(patches)])
        try:
            encode, block_dims = load_openvino_encode(network.name, key, load_blocks, blank, dtype)
        except OpenVinoError as error:
            if device != "auto":
                raise
            _LOG.info("Running the encoder %s with torch: %s", network.name, error)
            runtime = "cpu"
    if runtime != OPENVINO:
        from whichgen.encoders.torch_runtime import make_torch_encode

        encode = make_torch_encode(load_blocks(), runtime, dtype)
        try:
            block_dims = tuple(block.shape[1] for block in encode(blank))
        except (TypeError, ValueError) as error:
            # The forward pass needs more than pixels (NaFlex models, detectors, text models).
            raise EncoderError(
                f"{network.name} can't compute block features from pixels alone ({error}). Choose "
                "a CLIP, SigLIP, DINOv2 or ViT checkpoint."
            ) from error
    return Encoder(
        name=f"{network.name}:patches" if patches else network.name,
        weights_hash=network.weights_hash,
        preprocessing={**network.preprocessing, **({"patches": "mean, std"} if patches else {})},
        preprocess=network.preprocess,
        encode=encode,
        block_dims=block_dims,
        device=runtime,
        dtype=dtype,
        native_side=network.native_side,
    )
