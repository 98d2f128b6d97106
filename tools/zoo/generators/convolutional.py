"""The all-convolutional pair of DCGAN: noise → image, image → number.

Shared by DCGAN, WGAN-GP and VAE, so that these differ in what they learn by, not in their
layers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

LATENT = 96


class Upward(nn.Module):
    """Latent (n, 96) → image (n, 3, 64, 64) in −1…1, by five transposed convolutions.

    Parameters
    ----------
    base
        Channels at 32×32; each halving of the side doubles them.
    norm
        The normalisation, given its number of channels.
    """

    def __init__(self, base: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ConvTranspose2d(LATENT, 8 * base, 4, bias=False)]
        for wide in (8 * base, 4 * base, 2 * base):
            layers += [norm(wide), nn.ReLU()]
            layers += [nn.ConvTranspose2d(wide, wide // 2, 4, 2, 1, bias=False)]
        layers += [norm(base), nn.ReLU(), nn.ConvTranspose2d(base, 3, 4, 2, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        image: Tensor = self.layers(latent[:, :, None, None])
        return image


class Downward(nn.Module):
    """Image (n, 3, 64, 64) → ``outputs`` numbers (n, outputs), by strided convolutions."""

    def __init__(self, base: int, outputs: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, base, 4, 2, 1), nn.LeakyReLU(0.2)]
        for wide in (base, 2 * base, 4 * base):
            layers += [nn.Conv2d(wide, 2 * wide, 4, 2, 1), norm(2 * wide), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(8 * base, outputs, 4)]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.layers(image)
        return out.flatten(1)


def normal_start(module: nn.Module) -> None:
    """DCGAN's initial weights: N(0, 0.02²), for ``module.apply``."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)


def noise(n: int, device: torch.device, seed: int | None = None) -> Tensor:
    """Standard normal latents (n, 96); with a seed, the same on every device."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.randn(n, LATENT, generator=generator).to(device)
