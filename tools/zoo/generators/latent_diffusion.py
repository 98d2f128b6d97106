"""Latent diffusion (Rombach, Blattmann, Lorenz, Esser & Ommer, 2022).

First an autoencoder of images to latents of 4×16×16, held near N(0, 1) by a faint KL term; then the
diffusion of ``diffusion.py`` on its latents, scaled to unit variance. The paper's adversarial and
perceptual losses are left out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tools.zoo.budget import Budget
from tools.zoo.generators import autoencoder
from tools.zoo.generators.diffusion import ancestral, v_loss
from tools.zoo.generators.pixels import Average, batch, device_of, to_bytes
from tools.zoo.generators.unet import UNet

_CHANNELS, _WIDTHS, _STEPS = 4, (96, 128, 192), 100
_BATCH, _LR, _KL = 64, 1e-3, 1e-4
# The autoencoder's part of the time.
_SHARE = 0.4
# Latents beyond this many standard deviations do not occur; the sampler clips its guesses there.
_LIMIT = 4.0


class LatentDiffusion(nn.Module):
    """Autoencoder, scale of the latents (float32 (1,)) and denoiser of scaled latents."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder = autoencoder.Encoder(2 * _CHANNELS)
        self.decoder = autoencoder.Decoder(_CHANNELS)
        self.denoiser = UNet(_CHANNELS, _WIDTHS, patch=1)
        self.register_buffer("scale", torch.ones(1))


def new() -> LatentDiffusion:
    """An untrained autoencoder and denoiser."""
    return LatentDiffusion()


def train(module: LatentDiffusion, crops: Tensor, budget: Budget, seed: int) -> None:
    """The autoencoder, then, with it fixed, the denoiser."""
    torch.manual_seed(seed)
    device = device_of(module)
    parts = [*module.encoder.parameters(), *module.decoder.parameters()]
    optim = torch.optim.AdamW(parts, _LR, weight_decay=0)
    for progress in budget.steps("autoencoder", _SHARE):
        optim.param_groups[0]["lr"] = _LR * (1 - progress)
        image = batch(crops, _BATCH, device)
        mu, log_var = module.encoder(image).chunk(2, dim=1)
        log_var = log_var.clamp(-12, 4)
        kl = 0.5 * (mu.square() + log_var.exp() - log_var - 1).mean()
        restored = module.decoder(mu + (log_var / 2).exp() * torch.randn_like(mu))
        loss = autoencoder.reconstruction_loss(restored, image)
        optim.zero_grad()
        (loss + _KL * kl).backward()
        nn.utils.clip_grad_norm_(parts, 1.0)
        optim.step()
        budget.report(reconstruction=loss, kl=kl)

    with torch.no_grad():
        module.scale.copy_(1 / _means(module, batch(crops, 256, device)).std())
    optim = torch.optim.AdamW(module.denoiser.parameters(), _LR, weight_decay=0)
    mean = Average(module.denoiser)
    for progress in budget.steps("denoising", 1 - _SHARE):
        optim.param_groups[0]["lr"] = _LR * (1 - progress)
        with torch.no_grad():
            latent = _means(module, batch(crops, 2 * _BATCH, device)) * module.scale
        loss = v_loss(module.denoiser, latent)
        optim.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.denoiser.parameters(), 1.0)
        optim.step()
        mean.update(module.denoiser)
        budget.report(v=loss)
    module.denoiser.load_state_dict(mean.module.state_dict())


def _means(module: LatentDiffusion, images: Tensor) -> Tensor:
    means: Tensor = module.encoder(images)[:, :_CHANNELS]
    return means


@torch.no_grad()
def sample(module: LatentDiffusion, n: int, seed: int) -> np.ndarray:
    """``n`` decoded latents of 100 steps of the reverse chain: uint8 (n, 64, 64, 3)."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(n, _CHANNELS, autoencoder.SIDE, autoencoder.SIDE, generator=generator)
    start = start.to(device_of(module))
    latent = ancestral(module.denoiser, start, _STEPS, _LIMIT, generator)
    return to_bytes(module.decoder(latent / module.scale))
