"""Convert between 8-bit pixels and the range of the networks, and average the network weights."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def draw_batch(crops: Tensor, n: int, device: torch.device) -> Tensor:
    """Return ``n`` random crops of a uint8 tensor (N, 3, 64, 64): float32 in [-1, 1]."""
    sample = crops[torch.randint(len(crops), (n,), device=crops.device)]
    return sample.to(device).float() / 127.5 - 1


def to_bytes(images: Tensor) -> np.ndarray:
    """Clip and round float images (n, 3, h, w) in [-1, 1]; return uint8 images (n, h, w, 3)."""
    levels = (images.detach().clamp(-1, 1) + 1) * 127.5
    return np.asarray(levels.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())


def get_device(module: nn.Module) -> torch.device:
    """Return the device of the weights of a module."""
    return next(module.parameters()).device


class Average(Generic[M]):
    """Exponential moving average of the weights of a module: θ̄ ← d·θ̄ + (1 − d)·θ.

    At step t, the decay d is (1 + t)/(10 + t), but at most ``decay``, so that the initial random
    weights have little influence.
    """

    def __init__(self, module: M, decay: float = 0.995) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False)
        self._decay, self._t = decay, 0

    @torch.no_grad()
    def update(self, module: M) -> None:
        """Add the current weights and buffers to the average."""
        self._t += 1
        decay = min(self._decay, (1 + self._t) / (10 + self._t))
        means, values = self.module.state_dict().values(), module.state_dict().values()
        pairs = list(zip(means, values, strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([m for m, _ in floats], [v for _, v in floats], 1 - decay)
        for mean, value in pairs:
            if not mean.is_floating_point():
                mean.copy_(value)
