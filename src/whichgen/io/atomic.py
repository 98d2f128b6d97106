"""Files and folders appear whole or not at all: written beside, synced, then renamed.

What dies in between, by ``kill -9`` or with the power, leaves a temporary and nothing else; a later
process that writes into the same place removes it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp", re.DOTALL)

#: Seconds without a write after which nobody writes a temporary file any more.
_ABANDONED = 3600


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; on success it takes the place of ``path``.

    On any error (a full disk, Ctrl-C) the temporary file is removed and ``path`` is as it was. On
    return the file is on the disk under its name, so that of two files written one after the other
    the second is never there without the first, even after a loss of power.
    """
    _make(path.parent)
    _tidy(path.parent)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` (UTF-8) to ``path`` atomically."""
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder beside ``folder``; on success it takes the place of ``folder``.

    On any error the temporary folder is removed and ``folder`` is as it was. Death between the two
    renames that replace a folder leaves the old one beside its place, its name ending in ``.old``.
    """
    _make(folder.parent)
    _tidy(folder.parent)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        _sync(temporary)
        if not folder.exists():
            temporary.replace(folder)
            _sync(folder.parent)
            return
        old = temporary.with_suffix(".old")
        folder.replace(old)
        try:
            temporary.replace(folder)
        except BaseException:
            old.replace(folder)
            raise
        _sync(folder.parent)
        shutil.rmtree(old)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_temporary(path: Path) -> bool:
    """Whether a file or folder is one that :func:`replace_file` or :func:`replace_folder` began."""
    return bool(_TEMPORARY.fullmatch(path.name))


def is_permission_error(error: OSError) -> bool:
    """Whether a write failed because one may only read there, and not for want of space."""
    return error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)


@functools.cache  # a folder once in a process: looking through it takes time where it holds many
def _tidy(folder: Path) -> None:
    """Removes what killed processes left in a folder; not what others are writing now."""
    now = time.time()
    for file in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):  # another process is tidying, too
            # A time to come is one from before the clock was set back.
            if not is_temporary(file) or abs(now - file.stat().st_mtime) <= _ABANDONED:
                continue
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink()


def _make(folder: Path) -> None:
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in new:
        _sync(place.parent)


def _sync(folder: Path) -> None:
    """Makes a rename in a folder last."""
    # Windows opens no folder, and some network file systems sync none.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
