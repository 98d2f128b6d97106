"""Latent diffusion (Rombach, Blattmann, Lorenz, Esser & Ommer, 2022).

First, an autoencoder with latents of 4×16×16 numbers is trained. A KL term with a small weight
keeps the distribution of the latents close to N(0, 1). Then a diffusion model (``diffusion.py``) is
trained on the latents, scaled to unit variance. The adversarial and perceptual losses of the paper
are omitted.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tools.zoo.budget import Budget
from tools.zoo.generators import autoencoder
from tools.zoo.generators.diffusion import compute_v_loss, sample_reverse_chain
from tools.zoo.generators.pixels import Average, draw_batch, get_device, to_bytes
from tools.zoo.generators.unet import UNet

_CHANNELS, _WIDTHS, _STEPS = 4, (96, 128, 192), 100
_BATCH, _LR, _KL = 64, 1e-3, 1e-4
#: Fraction of the training time for the autoencoder.
_SHARE = 0.4

#: Maximum absolute value of a predicted latent, in standard deviations; larger ones are clipped.
_LIMIT = 4.0


class LatentDiffusion(nn.Module):
    """Autoencoder, scale of the latents (float32 (1,)), and denoiser of scaled latents."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder = autoencoder.Encoder(2 * _CHANNELS)
        self.decoder = autoencoder.Decoder(_CHANNELS)
        self.denoiser = UNet(_CHANNELS, _WIDTHS, patch=1)
        self.register_buffer("scale", torch.ones(1))


def create() -> LatentDiffusion:
    """Return an untrained autoencoder and denoiser."""
    return LatentDiffusion()


def train(module: LatentDiffusion, crops: Tensor, budget: Budget, seed: int) -> None:
    """Train the autoencoder, and then the denoiser with a fixed autoencoder."""
    torch.manual_seed(seed)
    device = get_device(module)
    parts = [*module.encoder.parameters(), *module.decoder.parameters()]
    optim = torch.optim.AdamW(parts, _LR, weight_decay=0)
    for progress in budget.steps("autoencoder", _SHARE):
        optim.param_groups[0]["lr"] = _LR * (1 - progress)
        image = draw_batch(crops, _BATCH, device)
        mu, log_var = module.encoder(image).chunk(2, dim=1)
        log_var = log_var.clamp(-12, 4)
        kl = 0.5 * (mu.square() + log_var.exp() - log_var - 1).mean()
        restored = module.decoder(mu + (log_var / 2).exp() * torch.randn_like(mu))
        loss = autoencoder.compute_reconstruction_loss(restored, image)
        optim.zero_grad()
        (loss + _KL * kl).backward()
        nn.utils.clip_grad_norm_(parts, 1.0)
        optim.step()
        budget.report(reconstruction=loss, kl=kl)

    with torch.no_grad():
        module.scale.copy_(1 / _means(module, draw_batch(crops, 256, device)).std())
    optim = torch.optim.AdamW(module.denoiser.parameters(), _LR, weight_decay=0)
    mean = Average(module.denoiser)
    for progress in budget.steps("denoising", 1 - _SHARE):
        optim.param_groups[0]["lr"] = _LR * (1 - progress)
        with torch.no_grad():
            latent = _means(module, draw_batch(crops, 2 * _BATCH, device)) * module.scale
        loss = compute_v_loss(module.denoiser, latent)
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
    """Draw ``n`` latents with 100 steps of the reverse chain; return the decoded images.

    The images are a uint8 array (n, 64, 64, 3).
    """
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(n, _CHANNELS, autoencoder.SIDE, autoencoder.SIDE, generator=generator)
    start = start.to(get_device(module))
    latent = sample_reverse_chain(module.denoiser, start, _STEPS, _LIMIT, generator)
    return to_bytes(module.decoder(latent / module.scale))
