"""Atomic writes: a file or folder is written completely or not at all.

Files and folders are written to a temporary path in the folder of their final path, synced to disk,
then renamed. If a process is killed, its temporary file or folder remains. A later process that
writes to the same folder removes the temporary files and folders that were last modified more than
an hour ago.
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

from whichgen.io.file_names import escape_name

#: Pattern of the names of temporary files and folders.
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp", re.DOTALL)

#: Number of seconds since the last modification after which a temporary file or folder is removed.
#: A process that still writes to it modifies it more often.
_ABANDONED_SECONDS = 3600


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; the file written there replaces ``path`` when the context exits.

    Missing parent folders are created. On any error (full disk, Ctrl-C), the temporary file is
    removed and ``path`` stays unchanged. On success, the file and its folder are synced to disk, so
    that the new file survives a power failure.

    Parameters
    ----------
    path
        Path of the file to create or replace.

    Yields
    ------
    pathlib.Path
        Path of the temporary file, which does not exist yet; it is in the folder of ``path``.

    Raises
    ------
    OSError
        A folder can't be created, ``path`` can't be replaced, or no file was written to the
        temporary path.
    """
    _make_folder(path.parent)
    temporary = _make_temporary_path(path)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        _replace_temporary_path(error, temporary, path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, keep_bytes: bool = False) -> None:
    """Write a text file in UTF-8 atomically (:func:`replace_file`).

    Parameters
    ----------
    path
        Path of the file to create or replace.
    text
        Content of the file. It can contain file names that are not UTF-8.
    keep_bytes
        Whether the invalid bytes of such names are written unchanged, so that the names can be used
        to open the files. By default, they are escaped
        (:func:`~whichgen.io.file_names.escape_name`).

    Raises
    ------
    OSError
        The file can't be written.
    UnicodeEncodeError
        ``keep_bytes`` is true, and the text contains a surrogate that does not represent a byte.
    """
    data = text.encode(errors="surrogateescape") if keep_bytes else escape_name(text).encode()
    with replace_file(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield the path of a temporary folder, which replaces ``folder`` when the context exits.

    Missing parent folders are created. On any error, the temporary folder is removed and ``folder``
    stays unchanged. On success, the existing folder is renamed to a name that ends in ``.old``, the
    temporary folder is renamed to ``folder``, and the ``.old`` folder is removed. If the process is
    killed between these steps, the ``.old`` folder remains, and ``folder`` may be missing.

    Parameters
    ----------
    folder
        Path of the folder to create or replace.

    Yields
    ------
    pathlib.Path
        Path of the temporary folder, which is empty; it has the same parent folder as ``folder``.

    Raises
    ------
    OSError
        A folder can't be created, or ``folder`` can't be replaced.
    """
    _make_folder(folder.parent)
    temporary = _make_temporary_path(folder)
    try:
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        _sync_folder(temporary)
        previous = temporary.with_suffix(".old")
        with contextlib.suppress(FileNotFoundError):
            folder.replace(previous)
        try:
            temporary.replace(folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                previous.replace(folder)
            raise
        _sync_folder(folder.parent)
        shutil.rmtree(previous, ignore_errors=True)
    except OSError as error:
        _replace_temporary_path(error, temporary, folder)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_temporary(path: Path) -> bool:
    """Return whether a path has the name of a temporary file or folder of this module."""
    return bool(_TEMPORARY.fullmatch(path.name))


def is_permission_error(error: OSError) -> bool:
    """Return whether an error is due to missing permission or a read-only file system."""
    return error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)


def _make_temporary_path(path: Path) -> Path:
    """Return a new temporary path in the folder of ``path``; remove abandoned paths there."""
    _remove_abandoned(path.parent)
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


@functools.cache  # only once per folder and process, because it takes time to list a large folder
def _remove_abandoned(folder: Path) -> None:
    """Remove temporary files and folders in ``folder`` that were not modified in the last hour."""
    now = time.time()
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):  # another process may remove the path at the same time
            # Use abs(), because the modification time is in the future if the clock was set back.
            if not is_temporary(path) or abs(now - path.stat().st_mtime) <= _ABANDONED_SECONDS:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _replace_temporary_path(error: OSError, temporary: Path, target: Path) -> None:
    """Replace the temporary path in ``error.filename`` with ``target``."""
    if str(error.filename).startswith(str(temporary)):
        error.filename = str(error.filename).replace(str(temporary), str(target), 1)


def _make_folder(folder: Path) -> None:
    """Create a folder and its missing parent folders, and sync them to disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _sync_folder(path.parent)


def _sync(path: Path) -> None:
    """Write the buffered data of a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Sync a folder to disk, so that renames in it survive a power failure."""
    # Windows can't open folders, and some network file systems can't sync them.
    with contextlib.suppress(OSError):
        _sync(folder)
