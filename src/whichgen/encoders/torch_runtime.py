"""Run a network with torch on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from whichgen.encoders.cuda_graphs import Forward, GpuEncodeFunction

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def make_torch_encode(
    forward: Forward, device: str, dtype: str
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Create :attr:`~whichgen.encoders.encoder.Encoder.encode` from the forward pass of a network.

    Parameters
    ----------
    forward
        Forward pass that returns one tensor (n, d_b) per block b. If it is a module, it is moved to
        the device and converted to the precision in place.
    device, dtype
        Device and precision; ``dtype`` is ``float32`` or ``bfloat16``.

    Returns
    -------
    function
        Converts preprocessed images, float32 array (n, …), to one float32 array (n, d_b) per block
        b. On a GPU, it is a :class:`~whichgen.encoders.cuda_graphs.GpuEncodeFunction`.
    """
    cuda = torch.device(device).type == "cuda"
    if isinstance(forward, torch.nn.Module):
        forward.to(device, _DTYPES[dtype])
        if cuda:  # makes convolutional networks about 1.5 times as fast
            forward.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if cuda:
        return GpuEncodeFunction(forward, device, _DTYPES[dtype])

    def encode(pixels: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(device, _DTYPES[dtype])
            return [block.float().cpu().numpy() for block in forward(batch)]

    return encode
