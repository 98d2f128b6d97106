"""What the measurements on a GPU share: the table, the clock, and a pass ready to be timed."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from whichgen.encoders.base import Encoder
from whichgen.encoders.cuda_graphs import CudaGraph, Forward
from whichgen.io.result_files import Row

CORES = os.cpu_count() or 1
SIDE = 224
#: Images of the passes whose batch is not what is measured.
BATCH = 256


def operations(patch: int = 16, width: int = 768, blocks: int = 12) -> int:
    """Floating-point operations of a ViT for one image, a multiplication and its addition as two.

    35.1e9 for ViT-B/16: the patches, each block's projections and MLP, and attention.
    """
    patches = (SIDE // patch) ** 2
    tokens = patches + 1
    block = 12 * tokens * width**2 + 2 * tokens**2 * width
    return 2 * (patches * 3 * patch**2 * width + blocks * block)


def seconds(call: Callable[[], Any], *, window: float = 0.2, repeats: int = 5) -> float:
    """The time of a call: the median of windows of many calls, after some to warm up."""

    def timed(times: int) -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(times):
            call()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / times

    timed(3)
    times = max(1, round(window / timed(1)))
    return statistics.median(timed(times) for _ in range(repeats))


class Table:
    """Rows in one form, printed as they come."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.peak = float("nan")

    def add(
        self,
        what: str,
        kind: str = "",
        batch: int | str = "",
        rate: float = float("nan"),
        *,
        share: bool = False,
        note: str = "",
    ) -> None:
        """A row; ``rate`` in images a second, ``share`` if it is one of the GPU's own work."""
        self.rows.append(
            {
                "what": what,
                "type": kind,
                "images at once": batch,
                "images/s": "" if np.isnan(rate) else f"{rate:.0f}",
                "share of peak, %": f"{100 * rate * operations() / self.peak:.1f}" if share else "",
                "note": note,
            }
        )
        print(" | ".join(str(value) for value in self.rows[-1].values()), flush=True)


def recorded(forward: Forward, batch: torch.Tensor) -> Callable[[], torch.Tensor]:
    """A pass as a CUDA graph."""
    graph = CudaGraph(lambda x: torch.cat([b.float() for b in forward(x)], dim=1), batch)
    return lambda: graph(batch)


def on_gpu(n: int, encoder: Encoder) -> torch.Tensor:
    return torch.randn(n, 3, SIDE, SIDE, device="cuda", dtype=encoder.encode.dtype)  # type: ignore[attr-defined]
