"""The time-conditioned U-Net of DDPM, flow matching and latent diffusion.

The architecture follows Ronneberger et al. (2015) and Ho et al. (2020), but is small enough for one
CPU core: three scales, one block per scale and direction, and self-attention only at the coarsest
scale. Patches of 2×2 pixels are converted to channels first, so that the convolutions process maps
of half the side.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.zoo.generators.residual import ResidualBlock

#: Dimension of the time embedding.
_TIME = 128


class UNet(nn.Module):
    """Network f(x, t) for x (n, channels, side, side) and t (n,) in [0, 1]; f has the shape of x.

    Parameters
    ----------
    channels
        Number of channels of x.
    widths
        Numbers of channels at the three scales, multiples of 8.
    patch
        Side of the patches that are converted to channels.
    """

    def __init__(self, channels: int, widths: tuple[int, int, int], patch: int) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.time = nn.Sequential(nn.Linear(_TIME, _TIME), nn.SiLU(), nn.Linear(_TIME, _TIME))
        self.fold, self.unfold = nn.PixelUnshuffle(patch), nn.PixelShuffle(patch)
        self.stem = nn.Conv2d(channels * patch**2, fine, 3, padding=1)
        self.down1 = ResidualBlock(fine, fine, _TIME)
        self.down2 = ResidualBlock(fine, middle, _TIME)
        self.down3 = ResidualBlock(middle, coarse, _TIME)
        self.attention = Attention(coarse)
        self.up3 = ResidualBlock(coarse, coarse, _TIME)
        self.up2 = ResidualBlock(coarse + middle, middle, _TIME)
        self.up1 = ResidualBlock(middle + fine, fine, _TIME)
        self.norm = nn.GroupNorm(8, fine)
        self.head = nn.Conv2d(fine, channels * patch**2, 3, padding=1)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        time = functional.silu(self.time(embed_time(t)))
        fine = self.down1(self.stem(self.fold(x)), time)
        middle = self.down2(functional.avg_pool2d(fine, 2), time)
        coarse = self.down3(functional.avg_pool2d(middle, 2), time)
        h = self.up3(self.attention(coarse), time)
        h = self.up2(torch.cat([functional.interpolate(h, scale_factor=2), middle], 1), time)
        h = self.up1(torch.cat([functional.interpolate(h, scale_factor=2), fine], 1), time)
        out: Tensor = self.unfold(self.head(functional.silu(self.norm(h))))
        return out


class Attention(nn.Module):
    """Residual self-attention over all positions with four heads (Vaswani et al., 2017)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(n, 3, 4, channels // 4, height * width)
        q, k, v = qkv.transpose(3, 4).unbind(1)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(2, 3)
        out: Tensor = x + self.out(mixed.reshape(n, channels, height, width))
        return out


def embed_time(t: Tensor) -> Tensor:
    """Return sines and cosines of 1000·t at 64 frequencies, geometric from 1 to 1e-4: (n, 128)."""
    half = _TIME // 2
    frequency = torch.exp(-math.log(1e4) * torch.arange(half, device=t.device) / half)
    angle = 1000 * t[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)
