"""Run a ``whichgen`` command that kills its own process group at one of its writes.

A write is a rename by :func:`whichgen.io.atomic_writes.replace_file`. Writes are counted from 1.
The process group, which includes the workers, is killed with SIGKILL at one of these moments:

- ``half``: The temporary file has been truncated to half of its size.
- ``written``: The temporary file is complete but not renamed yet.
- ``renamed``: The file has been renamed, but its folder is not synced yet.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

MOMENTS = ("half", "written", "renamed")


class KillAtWrite:
    """Audit hook that kills the process group at a write; the code of whichgen is not modified.

    Parameters
    ----------
    write
        Number of the write, counted from 1; 0 to kill at no write.
    moment
        One of :data:`MOMENTS`.
    log
        File to which the time in seconds since the start and the path of each write are appended;
        empty for no log.
    """

    def __init__(self, write: int, moment: str, log: str) -> None:
        self._remaining, self._moment, self._log = write, moment, log
        self._start = time.monotonic()
        self._renaming = 0  # id of the thread that renames the file of the write

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._renaming == threading.get_ident():
            # The next event of the thread comes after the rename. The kill is an event, too.
            self._renaming = 0
            _kill_group()
        if event != "os.rename" or not str(arguments[0]).endswith(".tmp"):
            return
        if self._log:
            log, self._log = self._log, ""  # opening the log is an event, too
            with Path(log).open("a") as file:
                file.write(f"{time.monotonic() - self._start:.3f}\t{arguments[1]}\n")
            self._log = log
        self._remaining -= 1
        if self._remaining:
            return
        if self._moment == "half":
            os.truncate(arguments[0], Path(arguments[0]).stat().st_size // 2)
        if self._moment == "renamed":
            self._renaming = threading.get_ident()
        else:
            _kill_group()


def _kill_group() -> None:
    os.killpg(0, signal.SIGKILL)
    time.sleep(60)  # do nothing else until the signal arrives


def run(arguments: list[str], write: int, moment: str, stderr: str, log: str) -> None:
    """Run ``whichgen ARGUMENTS`` in a new process group, and exit.

    Standard output is discarded, and standard error is written to the file ``stderr``. See
    :class:`KillAtWrite` for the other parameters.
    """
    os.setsid()
    for descriptor, path in ((1, os.devnull), (2, stderr)):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, descriptor)
    # The digests of files that contain a time must not depend on the time of the run.
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    sys.argv = ["whichgen", *arguments]
    sys.addaudithook(KillAtWrite(write, moment, log))
    from whichgen.cli.app import main

    sys.exit(main())
