"""DINOv2's vision transformer (Dosovitskiy et al., 2021; Oquab et al., 2023) in plain torch.

The weights have the same names as those of ``Dinov2Model`` in transformers, and the outputs are
that model's hidden states after each block. This module avoids importing transformers, which takes
seconds.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import gelu, interpolate, scaled_dot_product_attention


class VisionTransformer(nn.Module):
    """Vision transformer without register tokens.

    Parameters
    ----------
    width
        Number of features per token.
    heads
        Number of attention heads.
    depth
        Number of blocks.
    side
        Side of the square training images, in pixels. There is one position embedding for the CLS
        token and one for each patch of such an image. The latter are interpolated for images of
        another size.
    patch
        Side of a patch, in pixels.
    """

    def __init__(self, *, width: int, heads: int, depth: int, side: int, patch: int) -> None:
        super().__init__()
        self.embeddings = _Embeddings(width, side // patch, patch)
        blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.encoder = nn.ModuleDict({"layer": blocks})
        self.layernorm = nn.LayerNorm(width, eps=1e-6)  # not used, but part of the weights

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the output of each block, before the final normalization.

        Parameters
        ----------
        pixels
            Normalized images: float tensor (n, 3, h, w). Rows and columns beyond the last complete
            patch are ignored.

        Returns
        -------
        list of float tensors (n, 1 + patches, width)
            One tensor per block; the first token is the CLS token.
        """
        tokens = self.embeddings(pixels)
        outputs = []
        for block in self.encoder["layer"].children():
            tokens = block(tokens)
            outputs.append(tokens)
        return outputs


class _Embeddings(nn.Module):
    def __init__(self, width: int, grid: int, patch: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # used only in training
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + grid**2, width))
        projection = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
        self.patch_embeddings = nn.ModuleDict({"projection": projection})

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        maps = self.patch_embeddings["projection"](pixels)
        patches = maps.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(pixels.shape[0], -1, -1), patches], dim=1)
        return tokens + self._interpolate_positions(maps.shape[-2:])

    def _interpolate_positions(self, shape: torch.Size) -> torch.Tensor:
        """Interpolate the position embeddings to a grid of patches of this shape."""
        cls, grid = self.position_embeddings[:, :1], self.position_embeddings[:, 1:]
        side = round(grid.shape[1] ** 0.5)
        if tuple(shape) == (side, side):
            return self.position_embeddings
        maps = grid.reshape(1, side, side, -1).permute(0, 3, 1, 2)
        # Interpolation in bfloat16 would be inexact.
        scaled = interpolate(maps.float(), size=tuple(shape), mode="bicubic", align_corners=False)
        return torch.cat([cls, scaled.to(cls.dtype).flatten(2).transpose(1, 2)], dim=1)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = _Attention(width, heads)
        self.layer_scale1 = _LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width)})
        self.mlp["fc2"] = nn.Linear(4 * width, width)
        self.layer_scale2 = _LayerScale(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = self.layer_scale1(self.attention(self.norm1(tokens))) + tokens
        hidden = self.mlp["fc2"](gelu(self.mlp["fc1"](self.norm2(tokens))))
        return torch.as_tensor(self.layer_scale2(hidden) + tokens)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(width, width) for _ in range(4)
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        n, length, width = tokens.shape
        query, key, value = (
            project(tokens).view(n, length, self.heads, -1).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = scaled_dot_product_attention(query, key, value)
        return torch.as_tensor(self.o_proj(mixed.transpose(1, 2).reshape(n, length, width)))


class _LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.ones(width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens * self.lambda1
