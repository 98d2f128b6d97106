"""Between bytes and the networks' range, and a running mean of a network's weights."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def batch(crops: Tensor, n: int, device: torch.device) -> Tensor:
    """``n`` of the crops (uint8 (N, 3, 64, 64)) at random: float32 (n, 3, 64, 64) in −1…1."""
    picked = crops[torch.randint(len(crops), (n,), device=crops.device)]
    return picked.to(device).float() / 127.5 - 1


def to_bytes(images: Tensor) -> np.ndarray:
    """Float (n, 3, h, w) in −1…1 → uint8 (n, h, w, 3), clipped and rounded."""
    levels = (images.detach().clamp(-1, 1) + 1) * 127.5
    return np.asarray(levels.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())


def device_of(module: nn.Module) -> torch.device:
    """The device of the module's weights."""
    return next(module.parameters()).device


class Average(Generic[M]):
    """Exponential moving average of a module's weights: θ̄ ← d·θ̄ + (1 − d)·θ.

    The decay d warms up as (1 + t)/(10 + t), so that the random start is soon forgotten.
    """

    def __init__(self, module: M, decay: float = 0.995) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False)
        self._decay, self._t = decay, 0

    @torch.no_grad()
    def update(self, module: M) -> None:
        """Take in the current weights and buffers."""
        self._t += 1
        decay = min(self._decay, (1 + self._t) / (10 + self._t))
        means, values = self.module.state_dict().values(), module.state_dict().values()
        pairs = list(zip(means, values, strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([m for m, _ in floats], [v for _, v in floats], 1 - decay)
        for mean, value in pairs:
            if not mean.is_floating_point():
                mean.copy_(value)
