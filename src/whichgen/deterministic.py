"""Deterministic mode: byte-identical results on any number of CPU cores.

Floating-point sums depend on the order of addition, and libraries split a sum over as many threads
as there are cores. A float32 matrix product or a singular value can therefore differ in its last
digits between one thread and two, even with fixed seeds. In deterministic mode, every library uses
one thread, torch uses only deterministic algorithms, and encoders run on the CPU. Worker
processes (``--jobs``) are still allowed, because fits are independent and single-threaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from threadpoolctl import threadpool_limits

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Environment variables with the number of threads. Libraries read them when they are loaded.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_state = {"on": False}


def enable_deterministic_mode() -> None:
    """Enable deterministic mode until this process ends.

    The libraries of worker processes started later also use one thread. Call this
    function before loading an encoder, because loaded encoders are not moved to the CPU.
    """
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    import torch

    threadpool_limits(1)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    _state["on"] = True


def is_deterministic() -> bool:
    """Return whether deterministic mode is on."""
    return _state["on"]


def call_single_threaded(function: Callable[[*Ts], T], *args: *Ts) -> T:
    """Call ``function(*args)`` with one BLAS and OpenMP thread, and return the result."""
    with threadpool_limits(1):
        return function(*args)
