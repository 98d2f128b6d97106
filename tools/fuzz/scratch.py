"""One folder a process for cases that need files; in memory where the system has such a place."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")

_made: list[Path] = []


def folder(name: str) -> Path:
    """A new folder, which is removed at the end."""
    parent = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
    made = Path(tempfile.mkdtemp(prefix=f"whichgen-fuzz-{name}-", dir=parent))
    _made.append(made)
    return made


@atexit.register
def remove_all() -> None:
    """Removes them; a run that ends all its threads at once must ask for it."""
    for made in _made:
        shutil.rmtree(made, ignore_errors=True)


def emptied(place: Path) -> Path:
    """The folder with nothing in it."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place
