"""An encoder whose network is compiled: for images by the million that wait in memory.

Compiling takes some fifteen seconds and takes a quarter off a pass, 30 µs an image on the GPU of
``benchmarks/RESULTS-GPU.md``. It pays from half a million images on, and only where they come
faster than the network takes them as it is; files that the CPU decodes never do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from whichgen.encoders.base import Encoder
from whichgen.encoders.gpu import GpuEncode
from whichgen.errors import EncoderError

#: What a block adds is summed up once and kept. Left to itself, the compiler sums the last four
#: blocks' parts up anew wherever it needs them, and reads them all each time.
OPTIONS: dict[str, Any] = {"realize_reads_threshold": 1}


def compiled(encoder: Encoder, *, batch_size: int = 512) -> Encoder:
    """The encoder with its network compiled for batches of one size; others are filled up.

    Operations are fused, so that features differ by rounding: in float32 by about 1e-6 of a
    vector's length, in bfloat16, which is no longer rounded to between fused operations, by 1e-2.

    Parameters
    ----------
    encoder
        A network on a GPU, not joined with others and without ``:crops``.
    batch_size
        Images in one pass.

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
    forward = torch.compile(eager.forward, dynamic=False, options=OPTIONS)
    run = GpuEncode(forward, encoder.device, eager.dtype, step=batch_size)

    def encode(pixels: np.ndarray) -> list[np.ndarray]:
        n, missing = len(pixels), -len(pixels) % batch_size
        if not missing:
            return run(pixels)
        filled = np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), pixels.dtype)])
        return [block[:n] for block in run(filled)]

    return replace(encoder, encode=encode)
