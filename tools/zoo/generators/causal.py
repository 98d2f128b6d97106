"""A causal convolutional network: the output at a position depends only on earlier positions.

Earlier positions are above, or to the left in the same row. The gated layers are those of van den
Oord et al. (2016, Conditional PixelCNN), but in a single stack. Therefore, the network does not
see some positions to the upper right; the second stack of the paper, which covers these positions,
is omitted, because their neighbors contain most of the information.

:meth:`CausalNet.draw` fills a map position by position. It stores the maps of all layers, so that a
new position needs a small matrix product per layer instead of a forward pass over the map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class CausalConv(nn.Module):
    """Convolution over the rows above a position and over the positions to its left in its row.

    Parameters
    ----------
    channels_in, channels_out
        Numbers of channels of the input and of the output.
    kernel
        Height and width of the kernel. The last row of the kernel is the row of the position. The
        width must be odd.
    dilation
        Distance between adjacent elements of the kernel.
    includes_center
        Whether the output at a position depends on the input at the same position (mask B of the
        paper; false for mask A, in the first layer).
    """

    mask: Tensor

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: tuple[int, int],
        dilation: int = 1,
        includes_center: bool = True,
    ) -> None:
        super().__init__()
        self.dilation, (self.height, self.width) = dilation, kernel
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, dilation=dilation)
        mask = torch.ones(kernel)
        mask[-1, self.width // 2 + int(includes_center) :] = 0
        self.register_buffer("mask", mask, persistent=False)

    def pad(self, x: Tensor) -> Tensor:
        """Pad ``x`` (n, c, h, w) with zeros above and at both sides, by the reach of the kernel."""
        side = self.width // 2 * self.dilation
        return functional.pad(x, (side, side, (self.height - 1) * self.dilation, 0))

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(
            self.pad(x), self.conv.weight * self.mask, self.conv.bias, dilation=self.dilation
        )

    def at(self, padded: Tensor, row: int, column: int) -> Tensor:
        """Return the output at one position (n, channels_out) for a padded input."""
        step = self.dilation
        rows = slice(row, row + (self.height - 1) * step + 1, step)
        columns = slice(column, column + (self.width - 1) * step + 1, step)
        weight = (self.conv.weight * self.mask).flatten(1)
        return functional.linear(padded[:, :, rows, columns].flatten(1), weight, self.conv.bias)

    def put(self, padded: Tensor, row: int, column: int, value: Tensor) -> None:
        """Write the input at one position (n, channels_in) into the padded input."""
        side = self.width // 2 * self.dilation
        padded[:, :, row + (self.height - 1) * self.dilation, column + side] = value


class GatedLayer(nn.Module):
    """Residual layer h + W·(tanh(a) ⊙ σ(b)), where (a, b) is a causal convolution of h."""

    def __init__(self, hidden: int, dilation: int) -> None:
        super().__init__()
        self.causal = CausalConv(hidden, 2 * hidden, (2, 3), dilation)
        self.mix = nn.Linear(hidden, hidden)

    def forward(self, h: Tensor) -> Tensor:
        weight = self.mix.weight[:, :, None, None]
        return h + functional.conv2d(gate(self.causal(h)), weight, self.mix.bias)

    def at(self, padded: Tensor, row: int, column: int, h: Tensor) -> Tensor:
        """Return the output at one position (n, hidden).

        ``h`` is the input at this position. The padded input must already contain it.
        """
        out: Tensor = h + self.mix(gate(self.causal.at(padded, row, column)))
        return out


def gate(ab: Tensor) -> Tensor:
    """Return tanh(a)·σ(b), where a and b are the two halves of the channels."""
    a, b = ab.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()


class CausalNet(nn.Module):
    """Network from a map (n, channels, side, side) to a map (n, outputs, side, side).

    The output at a position depends on the values of earlier positions.

    Parameters
    ----------
    channels, outputs
        Numbers of channels of the input and of the output.
    side
        Width and height of the map. Each row and each column has a learned bias, because the
        distribution of the values depends on the position.
    hidden
        Number of channels of the gated layers.
    dilations
        Dilation of each gated layer.
    """

    def __init__(
        self, channels: int, outputs: int, side: int, hidden: int, dilations: Sequence[int]
    ) -> None:
        super().__init__()
        self.channels, self.side = channels, side
        self.first = CausalConv(channels, hidden, (4, 7), includes_center=False)
        self.place = nn.Parameter(torch.zeros(2, hidden, side))
        self.layers = nn.ModuleList(GatedLayer(hidden, dilation) for dilation in dilations)
        self.head = nn.Sequential(nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.out = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x) + self.place[0, :, :, None] + self.place[1, :, None, :]
        for layer in self.layers:
            h = layer(h)
        out: Tensor = self.out(self.head(h.movedim(1, -1)))
        return out.movedim(-1, 1)

    @torch.no_grad()
    def draw(self, n: int, choose: Callable[[Tensor], Tensor]) -> Tensor:
        """Fill ``n`` maps row by row, and return them: tensor (n, channels, side, side).

        ``choose`` is a function that returns the values (n, channels) of a position for the outputs
        (n, outputs) at this position.
        """
        device = self.place.device
        maps = torch.zeros(n, self.channels, self.side, self.side, device=device)
        hidden = self.place.shape[1]
        empty = maps.new_zeros(n, hidden, self.side, self.side)
        layers = [layer for layer in self.layers if isinstance(layer, GatedLayer)]
        first, padded = self.first.pad(maps), [layer.causal.pad(empty) for layer in layers]
        for row in range(self.side):
            for column in range(self.side):
                h = self.first.at(first, row, column)
                h = h + self.place[0, :, row] + self.place[1, :, column]
                for layer, layer_map in zip(layers, padded, strict=True):
                    layer.causal.put(layer_map, row, column, h)
                    h = layer.at(layer_map, row, column, h)
                maps[:, :, row, column] = value = choose(self.out(self.head(h)))
                self.first.put(first, row, column, value)
        return maps
