"""DDPM, diffusion on pixels (Ho, Jain & Abbeel, 2020).

The loss and the sampler are those of ``diffusion.py``, with v in place of ε.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tools.zoo.budget import Budget
from tools.zoo.generators.diffusion import ancestral, v_loss
from tools.zoo.generators.pixels import Average, batch, device_of, to_bytes
from tools.zoo.generators.unet import UNet

_WIDTHS, _BATCH, _LR, _STEPS = (64, 128, 192), 64, 5e-4, 100


def new() -> UNet:
    """An untrained U-Net."""
    return UNet(3, _WIDTHS, patch=2)


def train(module: UNet, crops: Tensor, budget: Budget, seed: int) -> None:
    """Adam on the v loss, the learning rate falling to zero; a running mean is kept."""
    torch.manual_seed(seed)
    optim = torch.optim.AdamW(module.parameters(), _LR, weight_decay=0)
    mean = Average(module)
    for progress in budget.steps("denoising"):
        optim.param_groups[0]["lr"] = _LR * (1 - progress)
        loss = v_loss(module, batch(crops, _BATCH, device_of(module)))
        optim.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optim.step()
        mean.update(module)
        budget.report(v=loss)
    module.load_state_dict(mean.module.state_dict())


def sample(module: UNet, n: int, seed: int) -> np.ndarray:
    """``n`` images by 100 steps of the reverse chain: uint8 (n, 64, 64, 3)."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(n, 3, 64, 64, generator=generator).to(device_of(module))
    return to_bytes(ancestral(module, start, _STEPS, 1.0, generator))
