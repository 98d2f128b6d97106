"""Hash the weights of a network, to identify the encoder of stored features and models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

import torch


def hash_weights(
    module: torch.nn.Module,
    architecture: Mapping[str, Any] | None = None,
    unused: Collection[str] = (),
) -> str:
    """Hash the architecture and the weights of a module.

    Parameters
    ----------
    module
        The module. The names, dtypes, shapes and values in its ``state_dict`` are hashed.
    architecture
        Settings that affect features but not the shapes of weights (for example the activation
        function); ``None`` is equivalent to no settings.
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
