"""The :class:`Encoder` class, and the function that builds encoders from networks."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from whichgen.encoders.devices import OPENVINO, resolve_device
from whichgen.encoders.openvino import load_openvino_encode
from whichgen.errors import EncoderError, OpenVinoError
from whichgen.io.run_metadata import hash_parts

if TYPE_CHECKING:
    import torch

    from whichgen.encoders.cuda_graphs import Forward

DTYPES = ("float32", "bfloat16")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoder:
    """A frozen encoder with its preprocessing.

    Parameters
    ----------
    name
        Name of the encoder (:func:`whichgen.encoders.loading.load_encoder`).
    weights_hash
        Hash of the architecture and the weights, computed before the weights are converted to
        ``dtype``: 32 hex digits.
    preprocessing
        Settings of the preprocessing, as JSON values.
    preprocess
        Function that converts an RGB image to a float32 array, for example (3, H, W). The shape is
        the same for all images.
    encode
        Function from a batch of preprocessed images, float32 array (n, …), to one float32 array
        (n, d_b) per block b, from first to last block.
    block_dims
        Number of features d_b of each block b.
    device
        Device that the encoder runs on, for example ``cpu`` or ``cuda:0``.
    dtype
        Precision of the arithmetic: ``float32`` or ``bfloat16``.
    native_side
        Side, in pixels, of a square image that ``preprocess`` does not resize; 0 if unknown.
    block_groups
        ``block_groups[m][g]`` contains the numbers (from 0) of the blocks in group g of member m.
        The members of a combination are the combined encoders
        (:mod:`whichgen.encoders.combinations`); any other encoder has a single member, itself. A
        fusion of blocks (:mod:`whichgen.heads.fusion`) gives all groups equal weight. By default,
        all blocks form one group, because their errors are correlated.
    """

    name: str
    weights_hash: str
    preprocessing: Mapping[str, Any]
    preprocess: Callable[[Image.Image], np.ndarray]
    encode: Callable[[np.ndarray], list[np.ndarray]]
    block_dims: tuple[int, ...]
    device: str = "cpu"
    dtype: str = "float32"
    native_side: int = 0
    block_groups: tuple[tuple[tuple[int, ...], ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.block_groups:
            groups = (tuple(range(len(self.block_dims))),)
            object.__setattr__(self, "block_groups", (groups,))

    @property
    def key(self) -> str:
        """Hash of the weights, the preprocessing settings and the precision: 32 hex digits."""
        settings = json.dumps(self.preprocessing, sort_keys=True)
        return hash_parts([self.weights_hash, settings, self.dtype])

    def describe(self) -> dict[str, Any]:
        """Return the encoder's metadata for result files and models, as JSON values.

        The keys are ``name``, ``weights_hash``, ``preprocessing``, ``dtype`` and ``blocks``, the
        number of blocks.
        """
        return {
            "name": self.name,
            "weights_hash": self.weights_hash,
            "preprocessing": dict(self.preprocessing),
            "dtype": self.dtype,
            "blocks": len(self.block_dims),
        }


@dataclass(frozen=True)
class Network:
    """A vision network and its preprocessing; :func:`build_encoder` converts it to an encoder.

    Parameters
    ----------
    name, weights_hash, preprocessing, preprocess, native_side
        See :class:`Encoder`. :func:`~whichgen.encoders.torch_networks.hash_weights` computes the
        hash.
    load
        Function that returns the network and its forward pass: a function from a float tensor
        (n, 3, H, W) on the network's device to the output of each block b, which is a token
        sequence (n, tokens, d_b), a feature map (n, d_b, h, w) or one vector per image (n, d_b).
        It is not called if a conversion of the network is cached. :func:`build_encoder` freezes the
        network and sets it to evaluation mode.
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

    If ``device`` is ``auto`` and OpenVINO can't run the network, torch runs it on the CPU.

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
        Append the mean and the standard deviation over patch tokens to the CLS token
        (:func:`~whichgen.encoders.pooling.pool_tokens`).

    Raises
    ------
    EncoderError
        The precision is unknown; the device is not available, or not allowed in deterministic mode;
        OpenVINO is not installed or can't compile the network; or the network requires inputs other
        than pixels.
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
        from whichgen.encoders.torch_networks import make_torch_encode

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
