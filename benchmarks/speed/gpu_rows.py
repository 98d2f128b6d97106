"""Table, timer and forward passes for the measurements on a GPU."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from whichgen.encoders.cuda_graphs import CudaGraph, Forward
from whichgen.encoders.encoder import Encoder
from whichgen.io.result_files import Row

CORES = os.cpu_count() or 1

#: Side of the network's input in pixels.
SIDE = 224

#: Batch size of the measurements that do not compare batch sizes.
BATCH = 256


def count_operations(patch: int = 16, width: int = 768, blocks: int = 12) -> int:
    """Count the floating-point operations of a ViT for one image: 35.1e9 for ViT-B/16.

    The patch embedding and each block's projections, attention and MLP are counted. A
    multiplication and an addition are two operations.
    """
    patches = (SIDE // patch) ** 2
    tokens = patches + 1
    block = 12 * tokens * width**2 + 2 * tokens**2 * width
    return 2 * (patches * 3 * patch**2 * width + blocks * block)


def measure_seconds(call: Callable[[], Any], *, window: float = 0.2, repeats: int = 5) -> float:
    """Measure the time of a call, after warm-up calls.

    The result is the median over ``repeats`` windows of about ``window`` seconds, each with many
    calls.
    """

    def average_calls(n: int) -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(n):
            call()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / n

    average_calls(3)
    n = max(1, round(window / average_calls(1)))
    return statistics.median(average_calls(n) for _ in range(repeats))


class Table:
    """Table of results; each row is also printed.

    ``peak`` is the rate of the fastest matrix product, in operations per second.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.peak = float("nan")

    def add(
        self,
        step: str,
        dtype: str = "",
        batch: int | str = "",
        rate: float = float("nan"),
        *,
        share: bool = False,
        note: str = "",
    ) -> None:
        """Add a row.

        Parameters
        ----------
        step
            What was measured.
        dtype
            Precision of the arithmetic.
        batch
            Batch size.
        rate
            Images per second.
        share
            Whether to add the share of the peak.
        note
            Further information.
        """
        used = rate * count_operations() / self.peak
        self.rows.append(
            {
                "step": step,
                "type": dtype,
                "batch size": batch,
                "images/s": "" if np.isnan(rate) else f"{rate:.0f}",
                "share of peak, %": f"{100 * used:.1f}" if share else "",
                "note": note,
            }
        )
        print(" | ".join(str(value) for value in self.rows[-1].values()), flush=True)


def record_graph(forward: Forward, batch: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Return a function that runs the forward pass on a batch as a CUDA graph."""
    graph = CudaGraph(lambda x: torch.cat([b.float() for b in forward(x)], dim=1), batch)
    return lambda: graph(batch)


def make_batch(n: int, encoder: Encoder) -> torch.Tensor:
    """Return a random batch of n images on the GPU, with the encoder's dtype."""
    return torch.randn(n, 3, SIDE, SIDE, device="cuda", dtype=encoder.encode.dtype)  # type: ignore[attr-defined]
