"""The residual block of all U-Nets and autoencoders here."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """x + f(x) with f = two times (group norm, SiLU, 3×3 convolution), as in Ho et al. (2020).

    Parameters
    ----------
    wide_in, wide_out
        Channels, multiples of eight; where they differ, a 1×1 convolution carries x over.
    time
        Size of the time embedding that scales and shifts the second norm; 0 for none.
    """

    def __init__(self, wide_in: int, wide_out: int, time: int = 0) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, wide_in), nn.GroupNorm(8, wide_out)
        self.conv1 = nn.Conv2d(wide_in, wide_out, 3, padding=1)
        self.conv2 = nn.Conv2d(wide_out, wide_out, 3, padding=1)
        self.carry = nn.Conv2d(wide_in, wide_out, 1) if wide_in != wide_out else nn.Identity()
        self.modulate = nn.Linear(time, 2 * wide_out) if time else None
        nn.init.zeros_(self.conv2.weight)  # the block starts as the identity

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.norm2(h)
        if self.modulate is not None:
            scale, shift = self.modulate(time)[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        out: Tensor = self.carry(x) + self.conv2(functional.silu(h))
        return out
