"""WGAN-GP (Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville, 2017).

A critic f estimates the Wasserstein distance between real and generated images; a penalty on its
gradient, at points between the two, holds its slope near one::

    L_f = E[f(G(z))] − E[f(x)] + λ · E[(‖∇f(x̂)‖ − 1)²]        L_G = −E[f(G(z))]
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tools.zoo.budget import Budget
from tools.zoo.generators.convolutional import Downward, Upward, noise
from tools.zoo.generators.pixels import Average, batch, device_of, to_bytes

_BASE, _BATCH, _LR, _LAMBDA = 48, 64, 2e-4, 10.0
# Five critic steps in the paper, with the penalty on the whole batch. On a CPU three must do, and
# a quarter of the batch: the penalty's expectation is the same.
_CRITIC_STEPS, _PENALISED = 3, 64


class WganGp(nn.Module):
    """Generator and critic; the critic has no batch norm, for the penalty is per image."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = Upward(_BASE, nn.BatchNorm2d)
        self.critic = Downward(_BASE, 1, lambda wide: nn.Identity())


def new() -> WganGp:
    """An untrained pair."""
    return WganGp()


def train(module: WganGp, crops: Tensor, budget: Budget, seed: int) -> None:
    """Three critic steps to one of the generator; a running mean of the generator is kept."""
    torch.manual_seed(seed)
    device = device_of(module)
    generator, critic = module.generator, module.critic
    optim_g = torch.optim.Adam(generator.parameters(), _LR, betas=(0.5, 0.9))
    optim_f = torch.optim.Adam(critic.parameters(), _LR, betas=(0.5, 0.9))
    mean = Average(generator, 0.98)
    for _ in budget.steps("adversarial"):
        for _ in range(_CRITIC_STEPS):
            real = batch(crops, _BATCH, device)
            with torch.no_grad():
                fake = generator(noise(_BATCH, device))
            fake_score, real_score = critic(torch.cat([fake, real])).chunk(2)
            distance = real_score.mean() - fake_score.mean()
            penalty = _penalty(critic, real[:_PENALISED], fake[:_PENALISED])
            optim_f.zero_grad()
            (_LAMBDA * penalty - distance).backward()
            optim_f.step()
        optim_g.zero_grad()
        (-critic(generator(noise(_BATCH, device))).mean()).backward()
        optim_g.step()
        mean.update(generator)
        budget.report(distance=distance, penalty=penalty)
    generator.load_state_dict(mean.module.state_dict())


def _penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    weight = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = torch.lerp(real, fake, weight).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty


@torch.no_grad()
def sample(module: WganGp, n: int, seed: int) -> np.ndarray:
    """``n`` images: uint8 (n, 64, 64, 3)."""
    return to_bytes(module.generator.eval()(noise(n, device_of(module), seed)))
