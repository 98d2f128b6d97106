"""Choose the device of an encoder (a CPU or GPU with torch, or the CPU with OpenVINO)."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from whichgen.deterministic import is_deterministic
from whichgen.errors import EncoderError, get_first_line
from whichgen.option_names import name_option

#: Device name that selects the OpenVINO runtime on the CPU.
OPENVINO = "openvino"

#: Device files of NVIDIA, WSL, AMD and Jetson GPUs.
_GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/nvmap")


def resolve_device(device: str) -> str:
    """Return the device that an encoder runs on.

    Parameters
    ----------
    device
        ``auto``, ``openvino`` or a device of torch, such as ``cpu`` or ``cuda:0``. ``auto`` selects
        the device in the environment variable ``WHICHGEN_DEVICE`` if it is set. Otherwise, it
        selects the first GPU that torch's ``cuda`` device supports (NVIDIA or AMD). Without such a
        GPU, it selects ``openvino`` if OpenVINO is installed (:mod:`whichgen.encoders.openvino`)
        and ``cpu`` if not. In deterministic mode (:mod:`whichgen.deterministic`), only ``auto`` and
        ``cpu`` are allowed, and both select ``cpu``.

    Returns
    -------
    str
        ``openvino`` or a device of torch. If ``device`` or ``WHICHGEN_DEVICE`` is ``openvino``, it
        is not checked whether OpenVINO is installed.

    Raises
    ------
    EncoderError
        The device is not allowed in deterministic mode, or torch can't use it.
    """
    if is_deterministic():
        if device not in ("auto", "cpu"):
            raise EncoderError(
                f"{name_option('--deterministic', 'deterministic mode')} does not support "
                f"{name_option(f'--device {device}')}. Use {name_option('--device cpu')}, or run "
                "without deterministic mode."
            )
        return "cpu"
    advice = f"Use {name_option('--device cpu')}."
    if device == "auto":
        device = os.environ.get("WHICHGEN_DEVICE", "")
        if device:
            advice = "Change the environment variable WHICHGEN_DEVICE."
        else:
            device = _find_fastest_device()
    if device in (OPENVINO, "cpu"):
        return device
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise EncoderError(
            f"device {device!r} is not available ({get_first_line(error)}). {advice}"
        ) from None
    return device


def count_cores() -> int:
    """Return the number of CPU cores that an encoder may use.

    This is the value of the environment variable ``OMP_NUM_THREADS``, which also limits torch. If
    the variable is not set to a positive integer, the result is the number of logical cores on
    which this process may run (Linux) or that the machine has (other systems).
    """
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdecimal() and int(limit):
        return int(limit)
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _find_fastest_device() -> str:
    # torch takes seconds to import, so it is imported only if there may be a GPU.
    if sys.platform == "linux":
        may_have_gpu = any(Path(file).exists() for file in _GPU_FILES)
    else:
        may_have_gpu = "+cu" in version("torch")
    if may_have_gpu:
        import torch

        if torch.cuda.is_available():
            return "cuda:0"
    return OPENVINO if find_spec(OPENVINO) else "cpu"
