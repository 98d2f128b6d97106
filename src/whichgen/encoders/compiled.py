"""An encoder whose network is compiled: for millions of images whose decoding is no bottleneck.

Compiling takes a minute or more and gains what `benchmarks/RESULTS-GPU.md` says, some millionths of
a second an image; it is nothing that a run of fewer images, or one that waits for files, wants.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from whichgen.encoders.encoder import Encoder
from whichgen.encoders.gpu import STEP, GpuEncode
from whichgen.errors import EncoderError


def compiled(encoder: Encoder, *, batch_size: int = STEP, mode: str = "default") -> Encoder:
    """The encoder with its network compiled for batches of one size; others are filled up.

    Operations are fused, so that features differ by rounding: in float32 about 1e-6 of a vector's
    length, in bfloat16, whose steps between fused operations are no longer rounded, about 1e-2.

    Parameters
    ----------
    encoder
        A network on a GPU, not joined with others and without ``:crops``.
    batch_size
        Images in one pass.
    mode
        What ``torch.compile`` does; ``max-autotune-no-cudagraphs`` tries kernels for minutes.

    Raises
    ------
    EncoderError
        The encoder is not a network on a GPU.
    """
    eager = encoder.encode
    if not isinstance(eager, GpuEncode):
        raise EncoderError(
            f"{encoder.name} on {encoder.device} can't be compiled: only a network of its own on a "
            "GPU can, without :crops and without another encoder joined to it."
        )
    forward = torch.compile(eager.forward, dynamic=False, mode=mode)
    run = GpuEncode(forward, encoder.device, eager.dtype, step=batch_size)

    def encode(pixels: np.ndarray) -> list[np.ndarray]:
        n, missing = len(pixels), -len(pixels) % batch_size
        if not missing:
            return run(pixels)
        filled = np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), pixels.dtype)])
        return [block[:n] for block in run(filled)]

    return replace(encoder, encode=encode)
