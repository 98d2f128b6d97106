"""Deterministic mode: one thread in every library, and encoders on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from whichgen import deterministic
from whichgen.encoders.devices import resolve_device
from whichgen.errors import EncoderError

#: Program that prints the threads of each library and a digest of a singular value decomposition.
PROGRAM = """
import sys
from whichgen.deterministic import enable_deterministic_mode
if "late" in sys.argv:
    import faiss, numpy, scipy.linalg, torch
if "off" not in sys.argv:
    enable_deterministic_mode()
import faiss, hashlib, numpy as np, scipy.linalg, torch
from threadpoolctl import threadpool_info
print(torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info()))
print(torch.are_deterministic_algorithms_enabled())
x = np.random.default_rng(0).normal(size=(1500, 768))
print(hashlib.sha256(np.linalg.svd(x, full_matrices=False)[1].tobytes()).hexdigest())
"""


def said(*arguments: str) -> list[str]:
    """Run the program with two requested threads, regardless of the number of cores."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, **threads},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()


def test_every_library_has_one_thread_loaded_before_or_after() -> None:
    early, late = said("early"), said("late")
    assert set(early[0].split()) == set(late[0].split()) == {"1"}
    assert early[1] == "True"
    assert early[2] == late[2]


def test_encoders_run_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(deterministic._state, "on", True)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    for other in ("cuda", "openvino"):
        with pytest.raises(EncoderError, match="deterministic mode does not support `device="):
            resolve_device(other)
