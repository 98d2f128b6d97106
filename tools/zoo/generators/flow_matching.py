"""Flow matching on straight paths (Lipman et al., 2023; rectified flow, Liu, Gong & Liu, 2023).

Between an image x and noise ε the path is a straight line, and the network learns its velocity::

    x_t = (1 − t)·x + t·ε        L = E ‖u(x_t, t) − (ε − x)‖²

An image is the end of the ordinary differential equation dx/dt = u(x, t), from noise at t = 1 to
t = 0. The network is DDPM's; only the path and the sampler differ.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from tools.zoo.budget import Budget
from tools.zoo.generators.pixels import Average, batch, device_of, to_bytes
from tools.zoo.generators.unet import UNet

_WIDTHS, _BATCH, _LR, _STEPS = (64, 128, 192), 64, 5e-4, 40


def new() -> UNet:
    """An untrained U-Net."""
    return UNet(3, _WIDTHS, patch=2)


def train(module: UNet, crops: Tensor, budget: Budget, seed: int) -> None:
    """Adam on the velocity loss, the learning rate falling to zero; a running mean is kept."""
    torch.manual_seed(seed)
    device = device_of(module)
    optim = torch.optim.AdamW(module.parameters(), _LR, weight_decay=0)
    mean = Average(module)
    for progress in budget.steps("velocity"):
        optim.param_groups[0]["lr"] = _LR * (1 - progress)
        x = batch(crops, _BATCH, device)
        # Stratified times, as for diffusion.
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
    """``n`` images by 40 steps of Heun's method: uint8 (n, 64, 64, 3)."""
    device = device_of(module)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, 64, 64, generator=generator).to(device)
    times = torch.linspace(1, 0, _STEPS + 1)
    for now, then in pairwise(times):
        slope = module(x, now.expand(n).to(device))
        ahead = module(x + (then - now) * slope, then.expand(n).to(device))
        x = x + (then - now) * (slope + ahead) / 2
    return to_bytes(x)
