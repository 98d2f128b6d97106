"""Encoding on a GPU: what it would wait for is taken out of its way.

Images go over from pinned memory, and features come back, while the GPU is at work on other images.
A pass whose shape comes twice in a row is recorded as a CUDA graph: Python then launches it whole,
not kernel by kernel.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable

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
        # Without a GPU, in tests, all else is as with one.
        self._cuda = self.device.type == "cuda"
        self._uploads = torch.cuda.Stream(self.device) if self._cuda else None  # type: ignore[no-untyped-call]

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Preprocessed images, float32 (n, …) with n > 0 → one float32 array (n, d_b) a block."""
        # Convolutions would take TF32 for float32, which has three digits.
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        here = torch.cuda.device(self.device if self._cuda else -1)
        with self._lock, torch.inference_mode(), exact, here:
            blocks: list[np.ndarray] = []
            ahead: tuple[slice, Callable[[], np.ndarray]] | None = None
            for start in range(0, len(pixels), self.step):
                part = slice(start, start + self.step)
                rows = self._download(self._run(self._upload(pixels[part])))
                if ahead is None:
                    blocks = [np.empty((len(pixels), dim), np.float32) for dim in self._dims]
                else:
                    self._fill(blocks, *ahead)
                ahead = part, rows
            if ahead is not None:
                self._fill(blocks, *ahead)
            return blocks

    def _upload(self, pixels: np.ndarray) -> torch.Tensor:
        """A batch on the device; it overtakes the pass that is under way."""
        # PyTorch keeps the pinned memory, and reuses it, when the copy is done.
        staged = torch.empty(pixels.shape, dtype=self.dtype, pin_memory=self._cuda)
        staged.copy_(torch.from_numpy(pixels))
        if self._uploads is None:
            return staged
        passes = torch.cuda.current_stream()
        with torch.cuda.stream(self._uploads):
            batch = staged.to(self.device, non_blocking=True)
        passes.wait_stream(self._uploads)
        batch.record_stream(passes)
        return batch

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

    def _download(self, rows: torch.Tensor) -> Callable[[], np.ndarray]:
        """Sends rows back; what is returned waits for them."""
        if not self._cuda:
            return rows.numpy
        host = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
        host.copy_(rows, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()

        def wait() -> np.ndarray:
            done.synchronize()
            return host.numpy()

        return wait

    def _fill(self, blocks: list[np.ndarray], part: slice, rows: Callable[[], np.ndarray]) -> None:
        ends = np.cumsum(self._dims)[:-1]
        for block, found in zip(blocks, np.split(rows(), ends, axis=1), strict=True):
            block[part] = found


class CudaGraph:
    """A pass recorded for batches like one; it gives what the pass gives, to the bit."""

    def __init__(self, run: Pass, batch: torch.Tensor) -> None:
        self._batch = batch.clone()
        self._graph = torch.cuda.CUDAGraph()
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
        """A batch of the recorded shape → its rows, which the next call overwrites."""
        self._batch.copy_(batch)
        self._graph.replay()
        return self._rows


def suit_gpu(module: torch.nn.Module) -> None:
    """Lets a network compute the same in the way that a GPU does fastest.

    A convolution whose windows lie side by side, as a ViT's patches do, becomes a matrix product of
    the same sums in another order: with cuDNN's convolution the whole pass takes 7 % longer. The
    weights of others get channels last, and so does what passes through them.
    """
    for conv in module.modules():
        if not isinstance(conv, torch.nn.Conv2d):
            continue
        if (
            type(conv) is torch.nn.Conv2d  # others may do more than its name says
            and conv.kernel_size == conv.stride != (1, 1)
            and conv.padding in ((0, 0), "valid")
            and conv.dilation == (1, 1)
            and conv.groups == 1
        ):
            conv.forward = functools.partial(_patch_product, conv)  # type: ignore[method-assign]
        else:
            conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _patch_product(conv: torch.nn.Conv2d, pixels: torch.Tensor) -> torch.Tensor:
    n, channels, height, width = pixels.shape
    high, wide = conv.kernel_size
    rows, columns = height // high, width // wide
    whole = pixels[:, :, : rows * high, : columns * wide]
    windows = whole.reshape(n, channels, rows, high, columns, wide).permute(0, 2, 4, 1, 3, 5)
    flat = windows.reshape(n, rows, columns, channels * high * wide)
    found = torch.nn.functional.linear(flat, conv.weight.flatten(1), conv.bias)
    return found.permute(0, 3, 1, 2)
