"""List the files of a folder in natural order."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path, PurePath
from typing import TypeVar

AnyPath = TypeVar("AnyPath", bound=PurePath)


def natural_key(text: str) -> list[int | str]:
    """Return a sort key for natural order: ``img2`` comes before ``img10``."""
    return [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", text)]


def select_paths(paths: Iterable[AnyPath], suffixes: Collection[str]) -> list[AnyPath]:
    """Select the relative paths that have one of the suffixes; return them in natural order.

    Hidden files and files in hidden folders are omitted. ``suffixes`` are lowercase and include the
    dot; they also match uppercase suffixes of paths.
    """
    visible = [
        path
        for path in paths
        if path.suffix.lower() in suffixes and not any(p.startswith(".") for p in path.parts)
    ]
    return sorted(visible, key=lambda path: [natural_key(part) for part in path.parts])


def list_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """List the files in a folder and its subfolders that have one of the suffixes.

    :func:`select_paths` selects and sorts the paths; hidden files are omitted.
    """
    paths = select_paths((path.relative_to(folder) for path in folder.rglob("*")), suffixes)
    return [folder / path for path in paths if (folder / path).is_file()]
