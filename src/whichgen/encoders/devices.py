"""Choose the device that an encoder runs on: a CPU, a GPU, or OpenVINO."""

from __future__ import annotations

import torch

from whichgen.deterministic import is_deterministic
from whichgen.errors import EncoderError
from whichgen.option_names import name_option

#: Device name that selects the OpenVINO runtime on the CPU.
OPENVINO = "openvino"


def resolve_device(device: str) -> str:
    """Return the device to run on: replace ``auto`` with a device, or check the given device.

    In deterministic mode (:mod:`whichgen.deterministic`), ``auto`` and ``cpu`` give ``cpu``, and no
    other device is allowed. Otherwise, ``auto`` gives the first GPU, or the CPU if there is no GPU;
    ``openvino`` (:mod:`whichgen.encoders.openvino`) is returned unchecked; and any other device is
    returned if torch can use it.

    Raises
    ------
    EncoderError
        The device is not allowed in deterministic mode, or not available.
    """
    if is_deterministic():
        if device not in ("auto", "cpu"):
            raise EncoderError(
                f"{name_option('--deterministic', 'the deterministic mode')} does not support "
                f"{name_option(f'--device {device}')}. Use {name_option('--device cpu')}, or turn "
                "it off."
            )
        return "cpu"
    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if device == OPENVINO:
        return device
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise EncoderError(
            f"device {device!r} is not available. Use {name_option('--device cpu')} or "
            f"{name_option('--device auto')}."
        ) from None
    return device
