"""Files of strangers are read only where they end: a pipe or a device might never."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular_file(path: Path, most: int) -> bytes:
    """The content of a regular file, or of what a link to one leads to.

    Raises
    ------
    OSError
        It is not there, can't be read, is a pipe, a device or a folder, has more than ``most``
        bytes, or no file can have such a name.
    """
    # A pipe that nobody writes to would keep a plain open waiting.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = os.open(path, flags)
    except ValueError:  # a NUL, or what the system's encoding does not know
        raise OSError(errno.EINVAL, "no file has such a name", str(path)) from None
    with os.fdopen(file, "rb") as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"larger than {most / 2**20:g} MiB", str(path))
        return opened.read(status.st_size)  # and not what was put at its end meanwhile
