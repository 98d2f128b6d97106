"""Limits of a case: no files elsewhere, programs or network, and limited time and memory."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Limits of one case: processor seconds of all threads, and bytes of additional memory.
SECONDS = 5.0
BYTES = 1 << 30

_FORBIDDEN = (
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn"),
    *("socket.connect", "socket.getaddrinfo", "pickle.find_class", "ctypes.dlopen"),
)
_FILES = (
    "open",
    "os.listdir",
    "os.scandir",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.symlink",
)

#: Folders of Python and its packages, from which modules may be imported at any time.
_ALWAYS = tuple(
    str(Path(place).resolve())
    for place in {sys.prefix, sys.base_prefix, *sys.path, "/usr/share", "/usr/lib", "/proc/self"}
    if place
)


class Finding(AssertionError):
    """A case exceeded its limits or broke an invariant."""


_state: dict[str, Any] = {"allowed": None, "finding": ""}


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    allowed = _state["allowed"]
    if allowed is None or _state["finding"]:
        return
    if event in _FORBIDDEN:
        _state["finding"] = f"{event}{arguments!r:.200}"
    elif event in _FILES and arguments and isinstance(arguments[0], str | bytes | os.PathLike):
        # Resolving the path raises audit events of its own.
        _state["allowed"] = None
        try:
            place = os.path.realpath(os.fsdecode(arguments[0]))
        except ValueError:
            place = ""
        finally:
            _state["allowed"] = allowed
        if place and not place.startswith((*allowed, *_ALWAYS)):
            _state["finding"] = f"{event}({place!r:.200})"


sys.addaudithook(_hook)


@contextmanager
def enforce_limits(*folders: Path) -> Iterator[None]:
    """Raise :class:`Finding` if the case leaves its folders or exceeds its limits."""
    start, before = time.process_time(), _memory()
    _state.update(allowed=tuple(os.path.realpath(folder) for folder in folders), finding="")
    try:
        yield
    finally:
        _state["allowed"] = None
    if _state["finding"]:
        raise Finding(f"forbidden: {_state['finding']}")
    seconds = time.process_time() - start
    if seconds > SECONDS:
        raise Finding(f"slow: {seconds:.1f} s")
    if (grown := _memory() - before) > BYTES:
        raise Finding(f"memory: {grown >> 20} MiB more at its peak")


def _memory() -> int:
    """Return the peak memory of this process in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def require(holds: Any, what: str) -> None:
    """Raise :class:`Finding` if an invariant does not hold."""
    if not holds:
        raise Finding(what)
