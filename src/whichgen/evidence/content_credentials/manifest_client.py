"""Parse C2PA manifests in a child process with limits on time and, on Linux, memory.

The parser of Content Credentials is native code that reads untrusted files. After a crash, a
timeout or an out-of-memory error, the credentials are reported as not checked, and a new process is
started for the next file. Otherwise, processes are reused.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections import defaultdict, deque
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

#: Maximum time per file in seconds, including the start of the process. About 5 ms is typical.
TIMEOUT = 10.0

#: Errors of the C2PA library if the manifest store is not in the place that the file format
#: specifies, and if the library does not support the file format.
_MISPLACED = "ManifestNotFound"
_UNSUPPORTED = "NotSupported"

#: Maximum length of a response in bytes; the worker has the same limit.
_MAX_RESPONSE = 4_000_000

#: Maximum number of idle processes.
_MAX_IDLE = 2

#: Disable network access, because manifests can refer to remote manifests and OCSP servers.
_SETTINGS: dict[str, Any] = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "core": {"allowed_network_hosts": []},
}

#: Extended key usages of accepted certificates: signing of e-mail and documents (C2PA 1), time
#: stamps, OCSP, and claims (Microsoft, C2PA 2). Trust depends only on the trust list.
_PURPOSES = (
    *("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.5.5.7.3.8", "1.3.6.1.5.5.7.3.9"),
    *("1.3.6.1.4.1.311.76.59.1.9", "1.3.6.1.4.1.62558.2.1"),
)

_WORKER = Path(__file__).with_name("manifest_worker.py")


class ManifestError(Exception):
    """The manifest store of a file can't be read."""


class MalformedError(ManifestError):
    """The C2PA library can't parse the manifest store."""


class MisplacedError(ManifestError):
    """The manifest store is not in the place that the file format specifies."""


@dataclass(frozen=True)
class ManifestStore:
    """Parsed manifest store of a file.

    Parameters
    ----------
    store
        Manifest store with validation results, as the C2PA library reports it in JSON. Its shape is
        not validated.
    exclusions
        Start and length in bytes of each part of the file that is excluded from the content hash
        of the active manifest; empty if the C2PA library reports neither exclusions besides the
        manifest nor a mismatch of the hash.
    """

    store: dict[str, Any]
    exclusions: tuple[tuple[int, int], ...] = ()


# Idle processes by process ID of the parent, because a forked process must not share them.
_idle: defaultdict[int, deque[subprocess.Popen[bytes]]] = defaultdict(deque)


def is_installed() -> bool:
    """Return whether the C2PA library (extra ``evidence``) is installed."""
    try:
        return importlib.util.find_spec("c2pa") is not None
    except ValueError:  # a module without a specification
        return False


def read_manifest_store(
    data: bytes, mime: str, trust_anchors: str = "", timeout: float = TIMEOUT
) -> ManifestStore:
    """Parse and validate the manifest store of an image file in a child process.

    Parameters
    ----------
    data
        Content of the image file.
    mime
        MIME type of the file, such as ``image/jpeg``.
    trust_anchors
        Certificates of trusted authorities in PEM; empty if there is no trust list.
    timeout
        Maximum time in seconds.

    Returns
    -------
    ManifestStore
        The parsed manifest store with validation results.

    Raises
    ------
    MalformedError
        The C2PA library can't parse the manifest store.
    MisplacedError
        The manifest store is not in the place that the file format specifies.
    ManifestError
        The C2PA library can't be loaded or does not support the file format, the manifest store is
        too large, or the parser crashed or exceeded its limit of time or memory.
    OSError
        The child process can't be started.
    """
    settings: dict[str, Any] = {**_SETTINGS, "trust": {"trust_config": "\n".join(_PURPOSES)}}
    if trust_anchors:
        settings["trust"]["trust_anchors"] = trust_anchors
    request = {"mime": mime, "bytes": len(data), "settings": json.dumps(settings)}
    response = _exchange(json.dumps(request).encode(), data, timeout)
    if "failure" in response:
        raise ManifestError(str(response["failure"]))
    if "error" in response:
        message = str(response["error"])
        if _UNSUPPORTED in message:
            raise ManifestError(message)
        raise (MisplacedError if _MISPLACED in message else MalformedError)(message)
    return ManifestStore(response["store"], tuple((s, n) for s, n in response["exclusions"]))


def start_process() -> None:
    """Start a child process for the next file in advance, unless a process is idle.

    Raises
    ------
    OSError
        The process can't be started.
    """
    _release(_acquire())


@atexit.register
def _stop_idle() -> None:
    idle = _idle[os.getpid()]
    while idle:
        _stop(idle.pop())


def _exchange(request: bytes, data: bytes, timeout: float) -> dict[str, Any]:
    """Send a request and an image file to a process, and return the response."""
    process = _acquire()
    is_timed_out = threading.Event()
    timer = threading.Timer(timeout, partial(_stop_late, process, is_timed_out))
    timer.daemon = True
    timer.start()
    try:
        assert process.stdin and process.stdout
        process.stdin.write(len(request).to_bytes(4, "big") + request + data)
        process.stdin.flush()
        size = int.from_bytes(process.stdout.read(4), "big")
        if size > _MAX_RESPONSE:
            raise ValueError("response too long")
        response = json.loads(process.stdout.read(size))
    except (OSError, ValueError):
        reason = f"took more than {timeout:g} seconds" if is_timed_out.is_set() else "crashed"
        _stop(process)
        raise ManifestError(f"the parser {reason}") from None
    except BaseException:
        _stop(process)
        raise
    finally:
        timer.cancel()
    if is_timed_out.is_set() or not isinstance(response, dict):
        _stop(process)
    else:
        _release(process)
    return response if isinstance(response, dict) else {"failure": "unexpected response"}


def _stop_late(process: subprocess.Popen[bytes], is_timed_out: threading.Event) -> None:
    is_timed_out.set()
    process.kill()


def _acquire() -> subprocess.Popen[bytes]:
    """Return an idle process that is still alive, or start one."""
    idle = _idle[os.getpid()]
    while idle:
        try:
            process = idle.pop()
        except IndexError:  # taken by another thread
            break
        if process.poll() is None:
            return process
        _stop(process)
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_WORKER), json.dumps(sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _release(process: subprocess.Popen[bytes]) -> None:
    """Add a process to the idle processes; stop the oldest ones above the maximum number."""
    idle = _idle[os.getpid()]
    idle.append(process)
    while len(idle) > _MAX_IDLE:
        try:
            surplus = idle.popleft()
        except IndexError:
            return
        _stop(surplus)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            try:
                stream.close()
            except OSError:  # unwritten bytes can't be flushed to a dead process
                continue
