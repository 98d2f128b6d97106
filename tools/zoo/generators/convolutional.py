"""The convolutional networks of DCGAN: from a latent to an image, and from an image to numbers.

DCGAN, WGAN-GP and VAE use the same networks, so that they differ only in their training.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

#: Dimension of a latent.
LATENT = 96


class Upward(nn.Module):
    """Five transposed convolutions from a latent (n, 96) to an image (n, 3, 64, 64) in [-1, 1].

    Parameters
    ----------
    base
        Number of channels at 32×32 pixels; the number doubles when the side is halved.
    norm
        Function that returns a normalization layer for a number of channels.
    """

    def __init__(self, base: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ConvTranspose2d(LATENT, 8 * base, 4, bias=False)]
        for channels in (8 * base, 4 * base, 2 * base):
            layers += [norm(channels), nn.ReLU()]
            layers += [nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1, bias=False)]
        layers += [norm(base), nn.ReLU(), nn.ConvTranspose2d(base, 3, 4, 2, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        image: Tensor = self.layers(latent[:, :, None, None])
        return image


class Downward(nn.Module):
    """Strided convolutions from an image (n, 3, 64, 64) to numbers (n, outputs).

    See :class:`Upward` for ``base`` and ``norm``.
    """

    def __init__(self, base: int, outputs: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, base, 4, 2, 1), nn.LeakyReLU(0.2)]
        for channels in (base, 2 * base, 4 * base):
            layers += [
                nn.Conv2d(channels, 2 * channels, 4, 2, 1),
                norm(2 * channels),
                nn.LeakyReLU(0.2),
            ]
        layers += [nn.Conv2d(8 * base, outputs, 4)]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.layers(image)
        return out.flatten(1)


def initialize_weights(module: nn.Module) -> None:
    """Initialize the weights of a layer as in DCGAN, with N(0, 0.02²); for ``module.apply``."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)


def draw_latents(n: int, device: torch.device, seed: int | None = None) -> Tensor:
    """Return standard normal latents (n, 96); with a seed, they are the same on all devices."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.randn(n, LATENT, generator=generator).to(device)
