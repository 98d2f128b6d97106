"""Encoding on a GPU: what it would wait for is taken out of its way.

Images go over from pinned memory while the GPU is at work on those before them, and the features of
all blocks come back in one copy. A pass whose shape comes twice in a row is recorded as a CUDA
graph: Python then launches it whole, not kernel by kernel, each of which waits for Python's lock
where threads decode images meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

import numpy as np
import torch

#: A network's pass: a float tensor (n, …) on the device → one float tensor (n, d_b) a block.
Forward = Callable[[torch.Tensor], list[torch.Tensor]]
#: A pass whose blocks lie side by side: (n, …) → float32 (n, sum of d_b).
Pass = Callable[[torch.Tensor], torch.Tensor]

#: Images in one pass at most; more in a call are encoded in turn.
STEP = 256


class GpuEncode:
    """``Encoder.encode`` by a network on a GPU; calls from several threads take turns.

    Parameters
    ----------
    forward
        The network's pass.
    device, dtype
        Where the network is, and the type of its weights.
    step
        Images in one pass at most.
    record
        Makes of a pass and a batch one that is launched whole, for batches of that shape.
    """

    def __init__(
        self,
        forward: Forward,
        device: str,
        dtype: torch.dtype,
        *,
        step: int = STEP,
        record: Callable[[Pass, torch.Tensor], Pass] | None = None,
    ) -> None:
        self.forward = forward
        self.device = torch.device(device)
        self.dtype = dtype
        self.step = step
        self._record = record or CudaGraph
        self._recorded: Pass | None = None
        self._recorded_shape = self._last_shape = torch.Size()
        self._dims: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Preprocessed images, float32 (n, …) with n > 0 → one float32 array (n, d_b) a block."""
        # Convolutions would take TF32 for float32, which has three digits.
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with self._lock, torch.inference_mode(), exact:
            starts = range(0, len(pixels), self.step)
            rows = [self._run(self._upload(pixels[i : i + self.step])) for i in starts]
            return apart(torch.cat(rows), self._dims)

    def _upload(self, pixels: np.ndarray) -> torch.Tensor:
        """A batch on the device; PyTorch keeps the pinned memory until the copy is done."""
        pinned = self.device.type == "cuda"
        staged = torch.empty(pixels.shape, dtype=self.dtype, pin_memory=pinned)
        staged.copy_(torch.from_numpy(pixels))
        return staged.to(self.device, non_blocking=True)

    def _run(self, batch: torch.Tensor) -> torch.Tensor:
        again, self._last_shape = batch.shape == self._last_shape, batch.shape
        if again and batch.shape != self._recorded_shape:
            self._recorded = None  # its memory goes before more is taken
            self._recorded_shape = batch.shape
            # A network that waits for the device, or a lack of memory: it runs as before.
            with contextlib.suppress(RuntimeError):
                self._recorded = self._record(self._pass, batch)
        if self._recorded is not None and batch.shape == self._recorded_shape:
            return self._recorded(batch)
        return self._pass(batch)

    def _pass(self, batch: torch.Tensor) -> torch.Tensor:
        blocks = self.forward(batch)
        self._dims = [block.shape[1] for block in blocks]
        return torch.cat([block.float() for block in blocks], dim=1)


class CudaGraph:
    """A pass recorded for batches like one; calling it gives what the pass gives, to the bit."""

    def __init__(self, run: Pass, batch: torch.Tensor) -> None:
        self._device = batch.device
        self._batch = batch.clone()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device):
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            # Libraries set themselves up in the first pass on a stream; that can't be recorded.
            with torch.cuda.stream(aside):
                run(self._batch)
            torch.cuda.current_stream().wait_stream(aside)
            # Other threads may go on using the device.
            with torch.cuda.graph(self._graph, stream=aside, capture_error_mode="thread_local"):
                self._rows = run(self._batch)

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """A batch of the recorded shape → new rows."""
        with torch.cuda.device(self._device):
            self._batch.copy_(batch)
            self._graph.replay()
            return self._rows.clone()


def apart(rows: torch.Tensor, dims: Sequence[int]) -> list[np.ndarray]:
    """Blocks side by side, float32 (n, sum of ``dims``) → each its own array, by one copy."""
    blocks = torch.split(rows, list(dims), dim=1)
    flat = torch.cat([block.reshape(-1) for block in blocks]).cpu().numpy()
    ends = np.cumsum([block.numel() for block in blocks])[:-1]
    parts = np.split(flat, ends)
    return [part.reshape(block.shape) for part, block in zip(parts, blocks, strict=True)]
