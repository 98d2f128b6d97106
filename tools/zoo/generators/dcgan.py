"""DCGAN (Radford, Metz & Chintala, 2016): a convolutional generator against a discriminator.

The losses are those of Goodfellow et al. (2014), in the non-saturating form::

    L_D = −E[log D(x)] − E[log(1 − D(G(z)))]        L_G = −E[log D(G(z))]
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.zoo.budget import Budget
from tools.zoo.generators.convolutional import Downward, Upward, draw_latents, initialize_weights
from tools.zoo.generators.pixels import Average, draw_batch, get_device, to_bytes

_BASE, _BATCH, _LR = 48, 64, 2e-4


class Dcgan(nn.Module):
    """Generator and discriminator."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = Upward(_BASE, nn.BatchNorm2d)
        self.discriminator = Downward(_BASE, 1, nn.BatchNorm2d)
        self.apply(initialize_weights)


def create() -> Dcgan:
    """Return an untrained generator and discriminator."""
    return Dcgan()


def train(module: Dcgan, crops: Tensor, budget: Budget, seed: int) -> None:
    """Train both networks with one step each per batch; average the weights of the generator."""
    torch.manual_seed(seed)
    device = get_device(module)
    generator, discriminator = module.generator, module.discriminator
    optim_g = torch.optim.Adam(generator.parameters(), _LR, betas=(0.5, 0.999))
    optim_d = torch.optim.Adam(discriminator.parameters(), _LR, betas=(0.5, 0.999))
    mean = Average(generator, 0.99)
    for _ in budget.steps("adversarial"):
        real, fake = draw_batch(crops, _BATCH, device), generator(draw_latents(_BATCH, device))
        # softplus(−s) = −log σ(s). Real and generated images are separate batches, because batch
        # normalization must not mix them.
        loss_d = functional.softplus(-discriminator(real)).mean()
        loss_d = loss_d + functional.softplus(discriminator(fake.detach())).mean()
        optim_d.zero_grad()
        loss_d.backward()
        optim_d.step()

        loss_g = functional.softplus(-discriminator(fake)).mean()
        optim_g.zero_grad()
        loss_g.backward()
        optim_g.step()
        mean.update(generator)
        budget.report(discriminator=loss_d, generator=loss_g)
    generator.load_state_dict(mean.module.state_dict())


@torch.no_grad()
def sample(module: Dcgan, n: int, seed: int) -> np.ndarray:
    """Draw ``n`` images: uint8 array (n, 64, 64, 3)."""
    return to_bytes(module.generator.eval()(draw_latents(n, get_device(module), seed)))
