"""Variational autoencoder (Kingma & Welling, 2014) with a standard normal prior.

The training maximizes the evidence lower bound of a Gaussian decoder. The variance of the decoder
has its optimal value, the mean squared error (sigma-VAE; Rybkin, Daniilidis & Levine, 2021), and
the divergence has a weight β (β-VAE; Higgins et al., 2017). The loss of an image of D values is::

    L = D/2 · log MSE(x, x̂) + β · KL( N(μ, σ²) ‖ N(0, 1) )

With β = 1, latents drawn from the prior are unlike the latents of images, and the resulting images
are gray.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tools.zoo.budget import Budget
from tools.zoo.generators.convolutional import LATENT, Downward, Upward, draw_latents
from tools.zoo.generators.pixels import draw_batch, get_device, to_bytes

_BASE, _BATCH, _LR, _BETA = 48, 128, 1e-3, 6.0


class Vae(nn.Module):
    """Encoder and decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Downward(_BASE, 2 * LATENT, nn.BatchNorm2d)
        self.decoder = Upward(_BASE, nn.BatchNorm2d)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstructions (n, 3, 64, 64) and the KL divergences in nats (n,)."""
        mu, log_var = self.encoder(image).chunk(2, dim=1)
        log_var = log_var.clamp(-10, 5)
        kl = 0.5 * (mu.square() + log_var.exp() - log_var - 1).sum(1)
        return self.decoder(mu + (log_var / 2).exp() * torch.randn_like(mu)), kl


def create() -> Vae:
    """Return an untrained autoencoder."""
    return Vae()


def train(module: Vae, crops: Tensor, budget: Budget, seed: int) -> None:
    """Minimize the loss; the learning rate decreases linearly to a tenth."""
    torch.manual_seed(seed)
    optim = torch.optim.Adam(module.parameters(), _LR)
    for progress in budget.steps("bound"):
        optim.param_groups[0]["lr"] = _LR * (1 - 0.9 * progress)
        image = draw_batch(crops, _BATCH, get_device(module))
        restored, kl = module(image)
        error = (restored - image).square().mean()
        loss = image[0].numel() / 2 * error.log() + _BETA * kl.mean()
        optim.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 500.0)
        optim.step()
        budget.report(mse=error, kl=kl.mean())


@torch.no_grad()
def sample(module: Vae, n: int, seed: int) -> np.ndarray:
    """Draw ``n`` latents from the prior; return the decoded images: uint8 (n, 64, 64, 3)."""
    return to_bytes(module.decoder.eval()(draw_latents(n, get_device(module), seed)))
