"""Files and folders appear whole or not at all: written beside, synced, then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; on success it takes the place of ``path``.

    On any error (a full disk, Ctrl-C) the temporary file is removed and ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` (UTF-8) to ``path`` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder beside ``folder``; on success it takes the place of ``folder``.

    On any error the temporary folder is removed and ``folder`` is as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        if not folder.exists():
            temporary.replace(folder)
            return
        old = temporary.with_suffix(".old")
        folder.replace(old)
        try:
            temporary.replace(folder)
        except BaseException:
            old.replace(folder)
            raise
        shutil.rmtree(old)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
