"""The :class:`Encoder` class, and functions that build encoders from torch modules."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from whichgen.encoders.cuda_graphs import Forward, GpuEncode
from whichgen.encoders.devices import OPENVINO, resolve_device
from whichgen.encoders.openvino import compile_openvino
from whichgen.errors import EncoderError
from whichgen.io.run_metadata import hash_parts

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


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
        (:mod:`whichgen.encoders.combinations`); any other encoder is its own only member. A fusion
        of blocks (:mod:`whichgen.heads.fusion`) gives all groups equal weight. By default, all
        blocks form one group, because their errors are correlated.
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


def pool_tokens(hidden: torch.Tensor, *, prefix: int = 0, patches: bool = False) -> torch.Tensor:
    """Pool the output of one block into one vector per image.

    Parameters
    ----------
    hidden
        A token sequence (n, tokens, d), a feature map (n, d, h, w) or one vector per image (n, d).
        Vectors are returned unchanged.
    prefix
        Number of tokens before the patch tokens: the CLS token and register tokens. If it is 0,
        there is no CLS token.
    patches
        Append the mean and the standard deviation over patch tokens to the CLS token.

    Returns
    -------
    Tensor (n, d); with ``patches``, (n, 3 d) with a CLS token and (n, 2 d) without
        Without ``patches``: the CLS token, or the mean over patch tokens if there is no CLS token.
        With ``patches``: the CLS token (if any), the mean and the standard deviation over patch
        tokens, concatenated. The positions of a feature map count as patch tokens.
    """
    if hidden.ndim == 2:
        return hidden
    if hidden.ndim == 4:
        if not patches:
            return hidden.mean(dim=(2, 3))
        hidden = hidden.flatten(2).transpose(1, 2)
    cls = [hidden[:, 0]] if prefix else []
    if cls and not patches:
        return cls[0]
    # bfloat16 is not precise enough for a standard deviation.
    tokens = hidden[:, prefix:].float()
    std = [tokens.std(dim=1, correction=0)] if patches else []
    return torch.cat([*cls, tokens.mean(dim=1).to(hidden.dtype), *std], dim=1)


def make_torch_encode(
    forward: Forward, device: str, dtype: str
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Create :attr:`Encoder.encode` from the forward pass of a torch module.

    Parameters
    ----------
    forward
        Forward pass that returns one tensor (n, d_b) per block b.
    device, dtype
        Device and precision of the module's weights; ``dtype`` is ``float32`` or ``bfloat16``.

    Returns
    -------
    function
        Converts preprocessed images, float32 array (n, …), to one float32 array (n, d_b) per block
        b. On a GPU, it is a :class:`~whichgen.encoders.cuda_graphs.GpuEncode`.
    """
    if torch.device(device).type == "cuda":
        return GpuEncode(forward, device, DTYPES[dtype])

    def encode(pixels: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(device, DTYPES[dtype])
            return [block.float().cpu().numpy() for block in forward(batch)]

    return encode


def hash_weights(
    module: torch.nn.Module,
    architecture: Mapping[str, Any] | None = None,
    unused: Collection[str] = (),
) -> str:
    """Hash the architecture and the weights of a module.

    Parameters
    ----------
    module
        The module. The names, dtypes, shapes and values of its parameters and buffers are hashed.
    architecture
        Settings that affect features but not the shapes of weights (for example the activation
        function).
    unused
        Names of weights that do not affect features; they are not hashed.

    Returns
    -------
    str
        32 hex digits.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps(dict(architecture or {}), sort_keys=True, default=str).encode())
    for name, tensor in sorted(module.state_dict().items()):
        if name in unused:
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Network:
    """A vision network and its preprocessing; :func:`build_encoder` converts it to an encoder.

    Parameters
    ----------
    name, preprocessing, preprocess, native_side
        See :class:`Encoder`.
    module
        The network. :func:`build_encoder` freezes it and sets it to evaluation mode.
    forward
        Function from a float tensor (n, 3, H, W) on the network's device to the output of each
        block b: a token sequence (n, tokens, d_b), a feature map (n, d_b, h, w) or one vector per
        image (n, d_b).
    prefix
        Number of tokens before the patch tokens (:func:`pool_tokens`).
    architecture, unused
        See :func:`hash_weights`.
    """

    name: str
    module: torch.nn.Module
    preprocessing: Mapping[str, Any]
    preprocess: Callable[[Image.Image], np.ndarray]
    forward: Forward
    prefix: int = 0
    architecture: Mapping[str, Any] | None = None
    unused: Collection[str] = ()
    native_side: int = 0


class PooledBlocks(torch.nn.Module):
    """Module that runs a network and pools the output of each block (:func:`pool_tokens`).

    Parameters
    ----------
    network
        The network.
    patches
        See :func:`pool_tokens`.
    """

    def __init__(self, network: Network, *, patches: bool) -> None:
        super().__init__()
        self.module = network.module  # registers the weights
        self._run = network.forward
        self._pool = partial(pool_tokens, prefix=network.prefix, patches=patches)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute features of preprocessed images (n, 3, H, W): one tensor (n, d_b) per block b."""
        return tuple(map(self._pool, self._run(pixels)))


def build_encoder(network: Network, *, device: str, dtype: str, patches: bool = False) -> Encoder:
    """Build an encoder from a network, and test it on a blank image.

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
        (:func:`pool_tokens`).

    Raises
    ------
    EncoderError
        The precision is unknown; the device is not available, or not allowed in deterministic mode;
        OpenVINO is not installed or can't compile the network; or the network requires inputs other
        than pixels.
    """
    if dtype not in DTYPES:
        raise EncoderError(f"unknown dtype {dtype!r}. Choose from {', '.join(DTYPES)}.")
    weights_hash = hash_weights(network.module, network.architecture, network.unused)
    device = resolve_device(device)
    pooled = PooledBlocks(network, patches=patches).eval().requires_grad_(False)
    try:
        blank = network.preprocess(Image.new("RGB", (256, 256)))[None]
        if device == OPENVINO:
            encode = compile_openvino(pooled, blank, dtype)
        else:
            pooled.to(device, DTYPES[dtype])
            if torch.device(device).type == "cuda":  # half as fast again for convolutional networks
                pooled.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            encode = make_torch_encode(pooled, device, dtype)
        blocks = encode(blank)
    except (TypeError, ValueError) as error:
        # The forward pass needs more than pixels (NaFlex models, detectors, text models).
        raise EncoderError(
            f"{network.name} can't compute block features from pixels alone ({error}). Choose a "
            "CLIP, SigLIP, DINOv2 or ViT checkpoint."
        ) from error
    return Encoder(
        name=f"{network.name}:patches" if patches else network.name,
        weights_hash=weights_hash,
        preprocessing={**network.preprocessing, **({"patches": "mean, std"} if patches else {})},
        preprocess=network.preprocess,
        encode=encode,
        block_dims=tuple(block.shape[1] for block in blocks),
        device=device,
        dtype=dtype,
        native_side=network.native_side,
    )
