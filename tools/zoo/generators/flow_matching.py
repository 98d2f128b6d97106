"""Flow matching on straight paths (Lipman et al., 2023; rectified flow, Liu, Gong & Liu, 2023).

The path between an image x and noise ε is a straight line. The network learns its velocity::

    x_t = (1 − t)·x + t·ε        L = E ‖u(x_t, t) − (ε − x)‖²

An image is the solution at t = 0 of the ordinary differential equation dx/dt = u(x, t) that starts
with noise at t = 1. The network is that of DDPM; only the loss and the sampler differ.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from tools.zoo.budget import Budget
from tools.zoo.generators.pixels import Average, draw_batch, get_device, to_bytes
from tools.zoo.generators.unet import UNet

_WIDTHS, _BATCH, _LR, _STEPS = (64, 128, 192), 64, 5e-4, 40


def create() -> UNet:
    """Return an untrained U-Net."""
    return UNet(3, _WIDTHS, patch=2)


def train(module: UNet, crops: Tensor, budget: Budget, seed: int) -> None:
    """Minimize the velocity loss; the learning rate decreases to 0; the weights are averaged."""
    torch.manual_seed(seed)
    device = get_device(module)
    optim = torch.optim.AdamW(module.parameters(), _LR, weight_decay=0)
    mean = Average(module)
    for progress in budget.steps("velocity"):
        optim.param_groups[0]["lr"] = _LR * (1 - progress)
        x = draw_batch(crops, _BATCH, device)
        # One t is drawn from each of n equal parts of [0, 1], as for diffusion.
        t = (torch.arange(_BATCH, device=device) + torch.rand(_BATCH, device=device)) / _BATCH
        noise = torch.randn_like(x)
        loss = (module(torch.lerp(x, noise, t[:, None, None, None]), t) - (noise - x)).square()
        optim.zero_grad()
        loss.mean().backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optim.step()
        mean.update(module)
        budget.report(velocity=loss.mean())
    module.load_state_dict(mean.module.state_dict())


@torch.no_grad()
def sample(module: UNet, n: int, seed: int) -> np.ndarray:
    """Draw ``n`` images with 40 steps of Heun's method: uint8 array (n, 64, 64, 3)."""
    device = get_device(module)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, 64, 64, generator=generator).to(device)
    times = torch.linspace(1, 0, _STEPS + 1)
    for time, next_time in pairwise(times):
        step = next_time - time
        slope = module(x, time.expand(n).to(device))
        next_slope = module(x + step * slope, next_time.expand(n).to(device))
        x = x + step * (slope + next_slope) / 2
    return to_bytes(x)
