"""Cache of converted networks and weights; files are used only if their SHA-256 digest matches.

The files are in the folder ``weights`` of ``$WHICHGEN_CACHE``, by default ``~/.cache/whichgen``.
They can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from safetensors import SafetensorError

from whichgen.defaults import CACHE_DIR
from whichgen.io.atomic_writes import replace_file, write_text


def get_cache_path(name: str) -> Path:
    """Return the path of the file called ``name`` in the folder ``weights`` of the cache."""
    return Path(os.environ.get("WHICHGEN_CACHE") or CACHE_DIR) / "weights" / name


def is_intact(*files: Path) -> bool:
    """Return whether files exist and are unchanged since :func:`write_cached_files` wrote them.

    The paths have the same order as in the call of :func:`write_cached_files`.
    """
    with suppress(OSError):
        return _digest_path(files[0]).read_bytes() == _hash_files(files).encode()
    return False


def write_cached_files(write: Callable[..., None], *files: Path) -> None:
    """Write files, each atomically, and then their digest.

    If the folder is not writable or the disk is full, no error is raised. :func:`is_intact` then
    returns false, so that the next process writes the files again.

    Parameters
    ----------
    write
        Function that writes the files. Its arguments are temporary paths, one per file.
    files
        Paths of the files, at least one. The path of the digest is the first of them, with its
        suffix replaced by ``.sha256``.
    """
    # OpenVINO raises RuntimeError if it can't write, and safetensors raises SafetensorError.
    with suppress(OSError, RuntimeError, SafetensorError):
        with ExitStack() as stack:
            temporary = tuple(stack.enter_context(replace_file(file)) for file in files)
            write(*temporary)
            digest = _hash_files(temporary)
        write_text(_digest_path(files[0]), digest)


def _digest_path(file: Path) -> Path:
    return file.with_suffix(".sha256")


def _hash_files(files: tuple[Path, ...]) -> str:
    """Return the SHA-256 of the concatenated contents: 64 hex digits."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()
