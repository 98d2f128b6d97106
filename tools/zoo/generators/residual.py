"""The residual block of the U-Nets and autoencoders."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """Residual block x + f(x) as in Ho et al. (2020).

    f consists of group normalization, SiLU and a 3×3 convolution, twice.

    Parameters
    ----------
    channels_in, channels_out
        Numbers of channels, multiples of 8. If they differ, x passes through a 1×1 convolution.
    time
        Dimension of the time embedding that scales and shifts the second normalized features; 0 for
        no time embedding.
    """

    def __init__(self, channels_in: int, channels_out: int, time: int = 0) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, channels_in), nn.GroupNorm(8, channels_out)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.carry = (
            nn.Conv2d(channels_in, channels_out, 1)
            if channels_in != channels_out
            else nn.Identity()
        )
        self.modulate = nn.Linear(time, 2 * channels_out) if time else None
        nn.init.zeros_(self.conv2.weight)  # so that f(x) does not depend on x before the training

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.norm2(h)
        if self.modulate is not None:
            scale, shift = self.modulate(time)[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        out: Tensor = self.carry(x) + self.conv2(functional.silu(h))
        return out
