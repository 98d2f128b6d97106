"""Run a network on a GPU with pinned memory, CUDA graphs, and float32 instead of TF32.

When two consecutive batches have the same shape, the forward pass is recorded as a CUDA graph, if
possible, and the graph is used for all batches of this shape until another shape is recorded. A
single launch runs the whole graph, whereas an unrecorded forward pass launches each kernel
separately. ``benchmarks/RESULTS-GPU.md`` compares the speed with and without graphs.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

import numpy as np
import torch

#: Forward pass of a network: a float tensor (n, …) → one float tensor (n, …) per block.
Forward = Callable[[torch.Tensor], Sequence[torch.Tensor]]
#: Forward pass that concatenates the d_b features of each block b: a float tensor (n, …) → one
#: float32 tensor (n, sum of d_b).
ConcatenatedForward = Callable[[torch.Tensor], torch.Tensor]


class CudaGraph:
    """Forward pass recorded as a CUDA graph for batches of one shape.

    The results are bitwise identical to those of the unrecorded forward pass.

    Parameters
    ----------
    forward
        The forward pass.
    batch
        A batch of the shape to record: float tensor (n, …) on the GPU.

    Raises
    ------
    RuntimeError
        The forward pass synchronizes with the CPU, or memory is insufficient.
    """

    def __init__(self, forward: ConcatenatedForward, batch: torch.Tensor) -> None:
        self._batch = batch.clone()
        self._graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        # Libraries initialize in the first pass on a stream; this pass can't be recorded.
        with torch.cuda.stream(stream):
            forward(self._batch)
        torch.cuda.current_stream().wait_stream(stream)
        # With "thread_local", other threads may use the device during the recording.
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._rows = forward(self._batch)

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """Run the forward pass.

        Parameters
        ----------
        batch
            Float tensor (n, …) of the recorded shape.

        Returns
        -------
        float32 tensor (n, sum of d_b)
            The features of all blocks b. The next call overwrites this tensor.
        """
        self._batch.copy_(batch)
        self._graph.replay()
        return self._rows


class GpuEncodeFunction:
    """Thread-safe :attr:`~whichgen.encoders.encoder.Encoder.encode` of a network on a GPU.

    Parameters
    ----------
    forward
        Forward pass of the network, which returns one tensor (n, d_b) per block b.
    device, dtype
        Device and dtype of the network's weights.
    """

    def __init__(self, forward: Forward, device: str, dtype: torch.dtype) -> None:
        self.forward = forward
        self.device = torch.device(device)
        self.dtype = dtype
        # At most one entry: the last shape that two consecutive batches had.
        self._forwards: dict[torch.Size, ConcatenatedForward] = {}
        self._last_shape = torch.Size()
        self._dims: list[int] = []
        self._lock = threading.Lock()

    @torch.inference_mode()
    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Encode images: float32 array (n, …) → one float32 array (n, d_b) per block b."""
        cuda = self.device.type == "cuda"  # false in tests on the CPU
        # For float32 convolutions, cuDNN would use TF32, which is exact to only three digits.
        no_tf32 = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with self._lock, no_tf32, torch.cuda.device(self.device if cuda else -1):
            pinned = torch.empty(pixels.shape, dtype=self.dtype, pin_memory=cuda)
            pinned.copy_(torch.from_numpy(pixels))
            rows = self._run(pinned.to(self.device, non_blocking=True)).cpu().numpy()
            blocks = np.split(rows, np.cumsum(self._dims)[:-1], axis=1)
            return [np.array(block, order="C") for block in blocks]

    def _run(self, batch: torch.Tensor) -> torch.Tensor:
        is_repeated, self._last_shape = batch.shape == self._last_shape, batch.shape
        if is_repeated and batch.shape not in self._forwards:
            self._forwards = {batch.shape: self._concatenate_blocks}  # frees the other graph
            # Recording fails if the network synchronizes with the CPU or there is too little
            # memory. Then the network is run without a graph.
            with contextlib.suppress(RuntimeError):
                self._forwards[batch.shape] = CudaGraph(self._concatenate_blocks, batch)
        return self._forwards.get(batch.shape, self._concatenate_blocks)(batch)

    def _concatenate_blocks(self, batch: torch.Tensor) -> torch.Tensor:
        blocks = self.forward(batch)
        self._dims = [block.shape[1] for block in blocks]
        return torch.cat([block.float() for block in blocks], dim=1)
