"""The deterministic mode: the same bytes whatever number of threads a machine runs.

The sum of floats depends on the order in which they are added, and libraries share a sum out among
as many threads as there are cores: a singular value, or a float32 product of matrices by BLAS,
differs in its last digits between one thread and two. Seeds can't help. In this mode every library
has one thread, torch only algorithms that it calls deterministic, and encoders run on the CPU.
Worker processes (``--jobs``) stay: fits do not depend on each other, and have one thread anyway.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from threadpoolctl import threadpool_limits

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Read by libraries as they are loaded, here and in worker processes.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_state = {"on": False}


def be_deterministic() -> None:
    """Puts this process, until it ends, and workers that it starts into the deterministic mode.

    Best before anything else: encoders that are loaded already stay where they are.
    """
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    import torch

    threadpool_limits(1)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    _state["on"] = True


def is_deterministic() -> bool:
    """Whether :func:`be_deterministic` was called."""
    return _state["on"]


def by_one_thread(function: Callable[[*Ts], T], *call: *Ts) -> T:
    """``function(*call)``, in which every library that is loaded has one thread."""
    with threadpool_limits(1):
        return function(*call)
