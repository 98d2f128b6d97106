"""Run a network on the CPU with OpenVINO.

``benchmarks/speed/extraction.py`` compares the speed of OpenVINO, torch and ONNX Runtime. Weights
are stored as float32; with ``bfloat16``, only the arithmetic has this precision.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from whichgen.errors import EncoderError, first_line
from whichgen.option_names import name_option

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def compile_openvino(
    blocks: torch.nn.Module, example: np.ndarray, dtype: str
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Create :attr:`~whichgen.encoders.base.Encoder.encode` by compiling a network with OpenVINO.

    Parameters
    ----------
    blocks
        Module that converts a float32 tensor (n, 3, H, W) to one tensor (n, d_b) per block b.
    example
        A preprocessed image: float32 array (1, 3, H, W).
    dtype
        Precision of the arithmetic: ``float32`` or ``bfloat16``.

    Returns
    -------
    function
        Thread-safe function from preprocessed images, float32 array (n, 3, H, W), to one float32
        array (n, d_b) per block b.

    Raises
    ------
    EncoderError
        OpenVINO is not installed, or the network can't be exported to it.
    """
    # Without this package OpenVINO sends no telemetry to Intel.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError:
        raise EncoderError(
            f"{name_option('--device openvino')} requires OpenVINO, which is not installed. "
            "Install it with: pip install 'whichgen[openvino]', or use "
            f"{name_option('--device cpu')}."
        ) from None
    finally:
        del sys.modules["openvino_telemetry"]
    # With a single image, torch.export would take the batch size for a constant.
    images = torch.from_numpy(np.repeat(example, 2, axis=0))
    shapes = {"pixels": {0: torch.export.Dim("images", min=1, max=2**16)}}
    try:
        with torch.no_grad():
            exported = torch.export.export(blocks, (images,), dynamic_shapes=shapes)
        model = openvino.convert_model(exported)
    except Exception as error:  # the exporters raise many types
        raise EncoderError(
            f"the encoder can't be exported to OpenVINO ({first_line(error)}). Use "
            f"{name_option('--device cpu')}."
        ) from error
    hint = {"INFERENCE_PRECISION_HINT": _PRECISIONS[dtype]}
    compiled: Any = openvino.compile_model(model, "CPU", hint)
    lock = threading.Lock()

    def encode(pixels: np.ndarray) -> list[np.ndarray]:
        with lock:  # a compiled model handles one request at a time
            outputs = compiled(pixels)
            return [np.array(outputs[i], dtype=np.float32) for i in range(len(compiled.outputs))]

    return encode
