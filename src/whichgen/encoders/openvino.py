"""A network run by OpenVINO on the CPU: the same features, over twice as fast in float32.

Measured beside torch and ONNX Runtime in ``benchmarks/speed/extraction.py``. The precision is
OpenVINO's own business: weights stay float32, and bfloat16 is what it computes in.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from whichgen.errors import EncoderError

#: What ``--device`` calls it.
OPENVINO = "openvino"

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def check_openvino() -> None:
    """Raises :class:`EncoderError` where OpenVINO is not installed."""
    if importlib.util.find_spec("openvino") is None:
        raise EncoderError(
            "--device openvino needs OpenVINO: pip install 'whichgen[openvino]'. Or use --device "
            "cpu, which gives the same features more slowly."
        )


class _Pass(torch.nn.Module):
    """A forward pass with the module whose weights it uses."""

    def __init__(
        self, module: torch.nn.Module, forward: Callable[[torch.Tensor], list[torch.Tensor]]
    ) -> None:
        super().__init__()
        self.module = module
        self._run = forward

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self._run(pixels))


def openvino_encode(
    module: torch.nn.Module,
    forward: Callable[[torch.Tensor], list[torch.Tensor]],
    example: np.ndarray,
    dtype: str,
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """``Encoder.encode`` of a network on the CPU, compiled by OpenVINO.

    Parameters
    ----------
    module, forward
        The network, and its pass: a float32 tensor (n, 3, H, W) → one tensor (n, d_b) a block.
    example
        A preprocessed image: float32 array (1, 3, H, W).

    Raises
    ------
    EncoderError
        It has an operation that can't be exported.
    """
    # Its converter reports its use to its makers; without this module it does not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    # torch.export would take one image for a constant.
    images = torch.from_numpy(np.repeat(example, 2, axis=0))
    shapes = {"pixels": {0: torch.export.Dim("images", min=1, max=2**16)}}
    try:
        with torch.no_grad():
            run = _Pass(module, forward)
            exported = torch.export.export(run, (images,), dynamic_shapes=shapes)
        model = openvino.convert_model(exported)
    except Exception as error:  # the exporters raise whatever they come upon
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EncoderError(
            f"the encoder can't be exported to OpenVINO ({first}). Use --device cpu."
        ) from error
    hint = {"INFERENCE_PRECISION_HINT": _PRECISIONS[dtype]}
    compiled: Any = openvino.compile_model(model, "CPU", hint)
    lock = threading.Lock()

    def encode(pixels: np.ndarray) -> list[np.ndarray]:
        with lock:  # a compiled model answers one request at a time
            found = compiled(pixels)
            return [np.array(found[i], dtype=np.float32) for i in range(len(compiled.outputs))]

    return encode
