"""What a case may not do: open files elsewhere, start programs, use the network, take for ever."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Seconds of processor time, of all threads, and bytes of memory more than before, for one case.
SECONDS = 5.0
BYTES = 1 << 30

_FORBIDDEN = (
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn"),
    *("socket.connect", "socket.getaddrinfo", "pickle.find_class", "ctypes.dlopen"),
)
_OPENED = ("open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir", "os.symlink")

#: Where Python and its packages are: what is imported late comes from there.
_ALWAYS = tuple(
    str(Path(place).resolve())
    for place in {sys.prefix, sys.base_prefix, *sys.path, "/usr/share", "/usr/lib", "/proc/self"}
    if place
)


class Finding(AssertionError):
    """A case broke what it must not; nothing that is caught on the way."""


_state: dict[str, Any] = {"allowed": None, "found": ""}


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    allowed = _state["allowed"]
    if allowed is None or _state["found"]:
        return
    if event in _FORBIDDEN:
        _state["found"] = f"{event}{arguments!r:.200}"
    elif event in _OPENED and arguments and isinstance(arguments[0], str | bytes | os.PathLike):
        # Another event must not come of looking at this one.
        _state["allowed"] = None
        try:
            place = os.path.realpath(os.fsdecode(arguments[0]))
        except ValueError:
            place = ""
        finally:
            _state["allowed"] = allowed
        if place and not place.startswith((*allowed, *_ALWAYS)):
            _state["found"] = f"{event}({place!r:.200})"


sys.addaudithook(_hook)


@contextmanager
def watched(*folders: Path) -> Iterator[None]:
    """Raises :class:`Finding` afterwards if a case left its folders or its limits."""
    start, before = time.process_time(), _memory()
    _state.update(allowed=tuple(os.path.realpath(folder) for folder in folders), found="")
    try:
        yield
    finally:
        _state["allowed"] = None
    if _state["found"]:
        raise Finding(f"forbidden: {_state['found']}")
    seconds = time.process_time() - start
    if seconds > SECONDS:
        raise Finding(f"slow: {seconds:.1f} s")
    if (grown := _memory() - before) > BYTES:
        raise Finding(f"memory: {grown >> 20} MiB more at its peak")


def _memory() -> int:
    """The most that this process has held so far, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def require(holds: Any, what: str) -> None:
    """Raises :class:`Finding` where an invariant does not hold."""
    if not holds:
        raise Finding(what)
