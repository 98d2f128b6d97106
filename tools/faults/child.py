"""A ``whichgen`` that dies at one of its writes: ``kill -9`` of its process group, workers and all.

Writes are the renames of :func:`whichgen.io.atomic.replace_file`, counted from 1 (0: none kills).
Moments of death are ``half``: half of the temporary file is on the disk; ``written``: all of it,
not yet renamed; ``renamed``: the file is in its place, the folder not yet synced.
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


class Deadly:
    """An audit hook: nothing of whichgen is patched.

    Writes are noted in the file ``log``, if there is one: seconds since the start, and the place.
    """

    def __init__(self, write: int, moment: str, log: str) -> None:
        self._left, self._moment, self._log = write, moment, log
        self._start = time.monotonic()
        self._renaming = 0  # the thread that is renaming the deadly file

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._renaming == threading.get_ident():
            self._renaming = 0  # to die is an event, too
            _die()  # whatever it did next, the rename is done
        if event != "os.rename" or not str(arguments[0]).endswith(".tmp"):
            return
        if self._log:
            log, self._log = self._log, ""  # writing the log is an event, too
            with Path(log).open("a") as file:
                file.write(f"{time.monotonic() - self._start:.3f}\t{arguments[1]}\n")
            self._log = log
        self._left -= 1
        if self._left:
            return
        if self._moment == "half":
            os.truncate(arguments[0], Path(arguments[0]).stat().st_size // 2)
        if self._moment == "renamed":
            self._renaming = threading.get_ident()
        else:
            _die()


def _die() -> None:
    os.killpg(0, signal.SIGKILL)
    time.sleep(60)  # the signal is on its way


def run(arguments: list[str], write: int, moment: str, stderr: str, log: str) -> None:
    """``whichgen ARGUMENTS``, the leader of a process group of its own; what it says goes to files.

    ``stderr`` is what it tells on standard error.
    """
    os.setsid()
    for descriptor, place in ((1, os.devnull), (2, stderr)):
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, descriptor)
    os.environ["SOURCE_DATE_EPOCH"] = "0"  # checksums of files that say when they were made
    sys.argv = ["whichgen", *arguments]
    sys.addaudithook(Deadly(write, moment, log))
    from whichgen.cli.app import main

    sys.exit(main())
