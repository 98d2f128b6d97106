"""What an encoder is to the rest of whichgen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from whichgen.deterministic import is_deterministic
from whichgen.encoders.gpu import GpuEncode, suit_gpu
from whichgen.encoders.openvino import OPENVINO, check_openvino, openvino_encode
from whichgen.errors import EncoderError
from whichgen.io.run_metadata import hash_parts

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Encoder:
    """A frozen encoder with its own preprocessing.

    Parameters
    ----------
    name
        What the user asked for: a hub id, a folder, or a registry name.
    weights_hash
        32 hex digits over the architecture and the names, shapes and values of all weights (before
        any cast).
    preprocessing
        The settings of the preprocessing, as JSON values; part of a feature's identity.
    preprocess
        An RGB image → a float32 array of one shape for all images; (3, H, W) for a network.
    encode
        A batch of preprocessed images, float32 array (n, …) → one float32 array (n, d_b) for each
        block b, in the order in which the image passes them, from one pass.
    block_dims
        The dimensions d_b.
    native_side
        The side, in pixels, of a square image that ``preprocess`` does not resample; 0: there is
        none.
    votes
        For each member encoder (:mod:`whichgen.encoders.combinations`; others are their one
        member) its votes: sets of blocks that weigh as much as one when blocks are fused. Left
        out: one vote of all blocks, as they see the same picture.
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
    votes: tuple[tuple[tuple[int, ...], ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.votes:
            object.__setattr__(self, "votes", ((tuple(range(len(self.block_dims))),),))

    @property
    def key(self) -> str:
        """The identity of this encoder's features: weights, preprocessing and precision."""
        settings = json.dumps(self.preprocessing, sort_keys=True)
        return hash_parts([self.weights_hash, settings, self.dtype])

    def describe(self) -> dict[str, Any]:
        """What results and model files record about the encoder."""
        return {
            "name": self.name,
            "weights_hash": self.weights_hash,
            "preprocessing": dict(self.preprocessing),
            "dtype": self.dtype,
            "blocks": len(self.block_dims),
        }


def pool_tokens(hidden: torch.Tensor, *, prefix: int = 0, patches: bool = False) -> torch.Tensor:
    """One block's output → one vector an image.

    Parameters
    ----------
    hidden
        A token sequence (n, tokens, d) or a feature map (n, d, h, w).
    prefix
        Tokens before those of patches: CLS, and registers after it.
    patches
        Not the CLS token alone but also mean and standard deviation over patches.

    Returns
    -------
    Tensor (n, d)
        The CLS token, or without one the mean over patches; with ``patches`` (n, 3 d) or, without
        CLS token, (n, 2 d).
    """
    if hidden.ndim == 4:
        if not patches:
            return hidden.mean(dim=(2, 3))
        hidden = hidden.flatten(2).transpose(1, 2)
    cls = [hidden[:, 0]] if prefix else []
    if cls and not patches:
        return cls[0]
    # bfloat16 has three digits: too few to take a spread by.
    places = hidden[:, prefix:].float()
    spread = [places.std(dim=1, correction=0)] if patches else []
    return torch.cat([*cls, places.mean(dim=1).to(hidden.dtype), *spread], dim=1)


def torch_encode(
    forward: Callable[[torch.Tensor], list[torch.Tensor]], device: str, dtype: str
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """``Encoder.encode`` by a network's forward pass, without gradients."""
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
    """32 hex digits over the names, types, shapes and values of a module's state.

    Parameters
    ----------
    architecture
        What the weights do not tell and features depend on (activation, number of heads …).
    unused
        Names of weights that no feature depends on; they are left out.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps(dict(architecture or {}), sort_keys=True).encode())
    for name, tensor in sorted(module.state_dict().items()):
        if name in unused:
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def resolve_device(device: str) -> str:
    """``auto`` → the first GPU or the CPU; anything else is checked to be there.

    ``openvino`` (:mod:`whichgen.encoders.openvino`) is the CPU, too. In the deterministic mode
    (:mod:`whichgen.deterministic`) there is torch on the CPU only.
    """
    if is_deterministic():
        if device not in ("auto", "cpu"):
            raise EncoderError(
                f"--deterministic promises the same bytes of the CPU only: leave --device {device} "
                "out, or --deterministic."
            )
        return "cpu"
    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if device == OPENVINO:
        check_openvino()
        return device
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise EncoderError(
            f"device {device!r} is not there. Use --device cpu, or auto to take what there is."
        ) from None
    return device


def build_encoder(
    name: str,
    module: torch.nn.Module,
    *,
    preprocessing: Mapping[str, Any],
    preprocess: Callable[[Image.Image], np.ndarray],
    forward: Callable[[torch.Tensor], list[torch.Tensor]],
    device: str,
    dtype: str,
    architecture: Mapping[str, Any] | None = None,
    unused: Collection[str] = (),
    native_side: int = 0,
    patches: bool = False,
) -> Encoder:
    """Freezes a module into an :class:`Encoder`; a blank image tells the blocks' dimensions.

    ``forward``: a float tensor (n, 3, H, W) on the device → one float tensor (n, d_b) a block.

    ``architecture`` and ``unused``: see :func:`hash_weights`. ``patches``: ``forward`` gives patch
    statistics, too.
    """
    if dtype not in DTYPES:
        raise EncoderError(f"dtype {dtype!r}: choose one of {', '.join(DTYPES)}.")
    weights_hash = hash_weights(module, architecture, unused)
    place = resolve_device(device)
    blank = preprocess(Image.new("RGB", (256, 256)))[None]
    module.eval().requires_grad_(False)
    if place == OPENVINO:
        encode = openvino_encode(module, forward, blank, dtype)
    else:
        module.to(place, DTYPES[dtype])
        if torch.device(place).type == "cuda":
            suit_gpu(module)
        encode = torch_encode(forward, place, dtype)
    blocks = encode(blank)
    return Encoder(
        name=f"{name}:patches" if patches else name,
        weights_hash=weights_hash,
        preprocessing={**preprocessing, **({"patches": "mean, std"} if patches else {})},
        preprocess=preprocess,
        encode=encode,
        block_dims=tuple(block.shape[1] for block in blocks),
        device=place,
        dtype=dtype,
        native_side=native_side,
    )
