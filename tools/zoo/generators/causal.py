"""A causal convolutional network: what it says of a position depends on earlier ones alone.

"Earlier" is above, or to the left in the same row. Gated layers after van den Oord et al. (2016,
Conditional PixelCNN), in a single stack: the blind spot to the upper right, which the paper closes
with a second stack, is left open, since positions there are mostly told by their neighbours.

:meth:`CausalNet.draw` fills a map position by position. It keeps every layer's map, so that a new
position costs one small product a layer rather than a pass over the whole map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class CausalConv(nn.Module):
    """Convolution over the rows above and, in its own row, over what is left of a position.

    Parameters
    ----------
    wide_in, wide_out
        Channels.
    kernel
        Height and width of the kernel, whose last row is the position's own; the width is odd.
    dilation
        Spacing of the kernel's taps.
    itself
        Whether a position sees itself (not in the first layer: mask A of the paper; else mask B).
    """

    mask: Tensor

    def __init__(
        self,
        wide_in: int,
        wide_out: int,
        kernel: tuple[int, int],
        dilation: int = 1,
        itself: bool = True,
    ) -> None:
        super().__init__()
        self.dilation, (self.height, self.width) = dilation, kernel
        self.conv = nn.Conv2d(wide_in, wide_out, kernel, dilation=dilation)
        mask = torch.ones(kernel)
        mask[-1, self.width // 2 + int(itself) :] = 0
        self.register_buffer("mask", mask, persistent=False)

    def pad(self, x: Tensor) -> Tensor:
        """``x`` (n, c, h, w) with zeros above and at both sides, as far as the kernel reaches."""
        side = self.width // 2 * self.dilation
        return functional.pad(x, (side, side, (self.height - 1) * self.dilation, 0))

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(
            self.pad(x), self.conv.weight * self.mask, self.conv.bias, dilation=self.dilation
        )

    def at(self, padded: Tensor, row: int, column: int) -> Tensor:
        """The output at one position (n, wide_out), from the padded input."""
        step = self.dilation
        rows = slice(row, row + (self.height - 1) * step + 1, step)
        columns = slice(column, column + (self.width - 1) * step + 1, step)
        weight = (self.conv.weight * self.mask).flatten(1)
        return functional.linear(padded[:, :, rows, columns].flatten(1), weight, self.conv.bias)

    def put(self, padded: Tensor, row: int, column: int, value: Tensor) -> None:
        """Write the input (n, wide_in) at one position into its padded map."""
        side = self.width // 2 * self.dilation
        padded[:, :, row + (self.height - 1) * self.dilation, column + side] = value


class GatedLayer(nn.Module):
    """h + W·(tanh(a) ⊙ σ(b)), where (a, b) is a causal convolution of h."""

    def __init__(self, wide: int, dilation: int) -> None:
        super().__init__()
        self.causal = CausalConv(wide, 2 * wide, (2, 3), dilation)
        self.mix = nn.Linear(wide, wide)

    def forward(self, h: Tensor) -> Tensor:
        weight = self.mix.weight[:, :, None, None]
        return h + functional.conv2d(gate(self.causal(h)), weight, self.mix.bias)

    def at(self, padded: Tensor, row: int, column: int, h: Tensor) -> Tensor:
        """The output at one position (n, wide); ``h`` is the input there, already in its map."""
        out: Tensor = h + self.mix(gate(self.causal.at(padded, row, column)))
        return out


def gate(ab: Tensor) -> Tensor:
    """tanh(a)·σ(b) of the two halves of the channels."""
    a, b = ab.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()


class CausalNet(nn.Module):
    """Map (n, ``channels``, side, side) → at each position ``outputs`` numbers about its value.

    Parameters
    ----------
    channels, outputs
        Numbers a position takes in and gives out.
    side
        Side of the map: each row and column has a learned bias, for sky is not below grass.
    wide
        Channels inside.
    dilations
        One gated layer each.
    """

    def __init__(
        self, channels: int, outputs: int, side: int, wide: int, dilations: Sequence[int]
    ) -> None:
        super().__init__()
        self.channels, self.side = channels, side
        self.first = CausalConv(channels, wide, (4, 7), itself=False)
        self.place = nn.Parameter(torch.zeros(2, wide, side))
        self.layers = nn.ModuleList(GatedLayer(wide, dilation) for dilation in dilations)
        self.head = nn.Sequential(nn.SiLU(), nn.Linear(wide, wide), nn.SiLU())
        self.out = nn.Linear(wide, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x) + self.place[0, :, :, None] + self.place[1, :, None, :]
        for layer in self.layers:
            h = layer(h)
        out: Tensor = self.out(self.head(h.movedim(1, -1)))
        return out.movedim(-1, 1)

    @torch.no_grad()
    def draw(self, n: int, choose: Callable[[Tensor], Tensor]) -> Tensor:
        """Fill ``n`` maps (n, channels, side, side) in reading order.

        ``choose`` is given a position's outputs (n, outputs) and gives its values (n, channels).
        """
        device = self.place.device
        maps = torch.zeros(n, self.channels, self.side, self.side, device=device)
        wide = self.place.shape[1]
        empty = maps.new_zeros(n, wide, self.side, self.side)
        layers = [layer for layer in self.layers if isinstance(layer, GatedLayer)]
        first, padded = self.first.pad(maps), [layer.causal.pad(empty) for layer in layers]
        for row in range(self.side):
            for column in range(self.side):
                h = self.first.at(first, row, column)
                h = h + self.place[0, :, row] + self.place[1, :, column]
                for layer, kept in zip(layers, padded, strict=True):
                    layer.causal.put(kept, row, column, h)
                    h = layer.at(kept, row, column, h)
                maps[:, :, row, column] = value = choose(self.out(self.head(h)))
                self.first.put(first, row, column, value)
        return maps
