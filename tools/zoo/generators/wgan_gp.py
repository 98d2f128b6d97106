"""WGAN-GP (Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville, 2017).

A critic f estimates the Wasserstein distance between real and generated images. A penalty keeps the
norm of its gradient, at points between real and generated images, close to 1::

    L_f = E[f(G(z))] − E[f(x)] + λ · E[(‖∇f(x̂)‖ − 1)²]        L_G = −E[f(G(z))]
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tools.zoo.budget import Budget
from tools.zoo.generators.convolutional import Downward, Upward, draw_latents
from tools.zoo.generators.pixels import Average, draw_batch, get_device, to_bytes

_BASE, _BATCH, _LR, _LAMBDA = 48, 64, 2e-4, 10.0
#: Number of critic steps per generator step. The paper has five; three steps save time.
_CRITIC_STEPS = 3


class WganGp(nn.Module):
    """Generator and critic.

    The critic has no batch normalization, because the penalty applies to each image separately.
    """

    def __init__(self) -> None:
        super().__init__()
        self.generator = Upward(_BASE, nn.BatchNorm2d)
        self.critic = Downward(_BASE, 1, lambda channels: nn.Identity())


def create() -> WganGp:
    """Return an untrained generator and critic."""
    return WganGp()


def train(module: WganGp, crops: Tensor, budget: Budget, seed: int) -> None:
    """Train with three critic steps per generator step; average the weights of the generator."""
    torch.manual_seed(seed)
    device = get_device(module)
    generator, critic = module.generator, module.critic
    optim_g = torch.optim.Adam(generator.parameters(), _LR, betas=(0.5, 0.9))
    optim_f = torch.optim.Adam(critic.parameters(), _LR, betas=(0.5, 0.9))
    mean = Average(generator, 0.98)
    for _ in budget.steps("adversarial"):
        for _ in range(_CRITIC_STEPS):
            real = draw_batch(crops, _BATCH, device)
            with torch.no_grad():
                fake = generator(draw_latents(_BATCH, device))
            fake_score, real_score = critic(torch.cat([fake, real])).chunk(2)
            distance = real_score.mean() - fake_score.mean()
            penalty = _compute_penalty(critic, real, fake)
            optim_f.zero_grad()
            (_LAMBDA * penalty - distance).backward()
            optim_f.step()
        optim_g.zero_grad()
        (-critic(generator(draw_latents(_BATCH, device))).mean()).backward()
        optim_g.step()
        mean.update(generator)
        budget.report(distance=distance, penalty=penalty)
    generator.load_state_dict(mean.module.state_dict())


def _compute_penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean of (‖∇f(x̂)‖ − 1)² for random points x̂ between real and generated images."""
    weight = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = torch.lerp(real, fake, weight).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty


@torch.no_grad()
def sample(module: WganGp, n: int, seed: int) -> np.ndarray:
    """Draw ``n`` images: uint8 array (n, 64, 64, 3)."""
    return to_bytes(module.generator.eval()(draw_latents(n, get_device(module), seed)))
