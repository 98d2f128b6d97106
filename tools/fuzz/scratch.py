"""Temporary folders for cases that need files, in shared memory if available."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")

_folders: list[Path] = []


def folder(name: str) -> Path:
    """Create a folder that is removed at exit."""
    parent = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix=f"whichgen-fuzz-{name}-", dir=parent))
    _folders.append(path)
    return path


@atexit.register
def remove_all() -> None:
    """Remove the folders; a run that ends with ``os._exit`` must call this."""
    for path in _folders:
        shutil.rmtree(path, ignore_errors=True)


def clear_folder(place: Path) -> Path:
    """Delete everything in a folder and return it."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place
