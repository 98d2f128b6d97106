"""Create temporary folders for cases that need files, in shared memory if possible."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")

_folders: list[Path] = []


def make_folder(name: str) -> Path:
    """Create a temporary folder that is removed at exit; ``name`` is a part of its name."""
    parent = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix=f"whichgen-fuzz-{name}-", dir=parent))
    _folders.append(path)
    return path


@atexit.register
def remove_all() -> None:
    """Remove the folders. Call this before ``os._exit``, which does not run exit handlers."""
    for path in _folders:
        shutil.rmtree(path, ignore_errors=True)


def clear_folder(folder: Path) -> Path:
    """Delete the content of a folder, or create the folder; return the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
