"""Limit a case: no other files, no programs, no network, and limited time and memory."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Limits of one case: CPU time of all threads in seconds, and additional memory in bytes.
SECONDS = 5.0
BYTES = 1 << 30

#: Audit events that are not allowed in a case.
_FORBIDDEN = (
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn"),
    *("socket.connect", "socket.getaddrinfo", "pickle.find_class", "ctypes.dlopen"),
)
#: Audit events whose first argument is a path, which must be in an allowed folder.
_FILES = (
    "open",
    "os.listdir",
    "os.scandir",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.symlink",
)

#: Folders that are always allowed, because modules may be imported from them at any time.
_ALWAYS_ALLOWED = tuple(
    str(Path(path).resolve())
    for path in {sys.prefix, sys.base_prefix, *sys.path, "/usr/share", "/usr/lib", "/proc/self"}
    if path
)


class Finding(AssertionError):
    """A case exceeds its limits or violates an invariant."""


#: Allowed folders of the current case (``None`` between cases), and its first forbidden event.
_state: dict[str, Any] = {"allowed": None, "finding": ""}


def _record_forbidden_event(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook that stores the first forbidden event of a case."""
    allowed = _state["allowed"]
    if allowed is None or _state["finding"]:
        return
    if event in _FORBIDDEN:
        _state["finding"] = f"{event}{arguments!r:.200}"
    elif event in _FILES and arguments and isinstance(arguments[0], str | bytes | os.PathLike):
        # Ignore the audit events that are raised when the path is resolved.
        _state["allowed"] = None
        try:
            path = os.path.realpath(os.fsdecode(arguments[0]))
        except ValueError:
            path = ""
        finally:
            _state["allowed"] = allowed
        if path and not path.startswith((*allowed, *_ALWAYS_ALLOWED)):
            _state["finding"] = f"{event}({path!r:.200})"


sys.addaudithook(_record_forbidden_event)


@contextmanager
def enforce_limits(*folders: Path) -> Iterator[None]:
    """Raise :class:`Finding` if the ``with`` block uses other folders or exceeds the limits."""
    start, memory_before = time.process_time(), _measure_memory()
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
    if (additional := _measure_memory() - memory_before) > BYTES:
        raise Finding(f"memory: the peak is {additional >> 20} MiB higher")


def _measure_memory() -> int:
    """Return the peak memory of this process in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def require(condition: Any, problem: str) -> None:
    """Raise :class:`Finding` with the message ``problem`` if a condition is false."""
    if not condition:
        raise Finding(problem)
