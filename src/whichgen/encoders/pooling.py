"""Pool the output of each block of a network into one vector per image."""

from __future__ import annotations

from functools import partial

import torch

from whichgen.encoders.cuda_graphs import Forward


def pool_tokens(hidden: torch.Tensor, *, prefix: int = 0, patches: bool = False) -> torch.Tensor:
    """Pool the output of one block into one vector per image.

    Parameters
    ----------
    hidden
        A token sequence (n, tokens, d), a feature map (n, d, h, w) or one vector per image (n, d).
        Vectors are returned unchanged, also with ``patches``.
    prefix
        Number of tokens before the patch tokens: the CLS token and register tokens; 0 if there is
        no CLS token, as in a feature map.
    patches
        Also return the mean and the standard deviation over patch tokens.

    Returns
    -------
    tensor (n, d), (n, 2 d) or (n, 3 d)
        Without ``patches``: the CLS token or, if there is none, the mean over patch tokens, (n, d).
        With ``patches``: the CLS token, the mean and the standard deviation over patch tokens,
        concatenated, (n, 3 d), or the last two of these if there is no CLS token, (n, 2 d). The
        standard deviation divides by the number of patch tokens. The positions of a feature map
        count as patch tokens. The dtype is that of ``hidden`` or, for a token sequence or feature
        map with ``patches``, float32.
    """
    if hidden.ndim == 2:
        return hidden
    if hidden.ndim == 4:
        if not patches:
            return hidden.mean(dim=(2, 3))
        hidden = hidden.flatten(2).transpose(1, 2)
    cls = [hidden[:, 0]] if prefix else []
    if cls and not patches:
        return cls[0]
    # bfloat16 is not precise enough for a standard deviation.
    tokens = hidden[:, prefix:].float()
    std = [tokens.std(dim=1, correction=0)] if patches else []
    return torch.cat([*cls, tokens.mean(dim=1).to(hidden.dtype), *std], dim=1)


class PooledBlocks(torch.nn.Module):
    """Frozen module that runs a network and pools the output of each block (:func:`pool_tokens`).

    Parameters
    ----------
    module, forward
        The network and its forward pass (:class:`whichgen.encoders.network.Network`).
    prefix, patches
        See :func:`pool_tokens`.
    """

    def __init__(
        self, module: torch.nn.Module, forward: Forward, *, prefix: int, patches: bool
    ) -> None:
        super().__init__()
        self.module = module  # registers the weights
        self._run = forward
        self._pool = partial(pool_tokens, prefix=prefix, patches=patches)
        self.eval().requires_grad_(False)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute features of preprocessed images (n, 3, H, W): one tensor (n, d_b) per block b."""
        return tuple(map(self._pool, self._run(pixels)))
