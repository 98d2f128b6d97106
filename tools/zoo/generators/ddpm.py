"""DDPM, diffusion on pixels (Ho, Jain & Abbeel, 2020).

The module ``diffusion`` contains the loss and the sampler. The network predicts v instead of ε.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tools.zoo.budget import Budget
from tools.zoo.generators.diffusion import compute_v_loss, sample_reverse_chain
from tools.zoo.generators.pixels import Average, draw_batch, get_device, to_bytes
from tools.zoo.generators.unet import UNet

_WIDTHS, _BATCH, _LR, _STEPS = (64, 128, 192), 64, 5e-4, 100


def create() -> UNet:
    """Return an untrained U-Net."""
    return UNet(3, _WIDTHS, patch=2)


def train(module: UNet, crops: Tensor, budget: Budget, seed: int) -> None:
    """Minimize the v loss; the learning rate decreases to 0, and the weights are averaged."""
    torch.manual_seed(seed)
    optim = torch.optim.AdamW(module.parameters(), _LR, weight_decay=0)
    mean = Average(module)
    for progress in budget.steps("denoising"):
        optim.param_groups[0]["lr"] = _LR * (1 - progress)
        loss = compute_v_loss(module, draw_batch(crops, _BATCH, get_device(module)))
        optim.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optim.step()
        mean.update(module)
        budget.report(v=loss)
    module.load_state_dict(mean.module.state_dict())


def sample(module: UNet, n: int, seed: int) -> np.ndarray:
    """Draw ``n`` images with 100 steps of the reverse chain: uint8 array (n, 64, 64, 3)."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(n, 3, 64, 64, generator=generator).to(get_device(module))
    return to_bytes(sample_reverse_chain(module, start, _STEPS, 1.0, generator))
