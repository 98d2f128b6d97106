"""List the files in a folder and its subfolders in natural order.

- Hidden files and folders, and system files and folders (:data:`SYSTEM_NAMES`), are skipped.
- Links to files and folders are followed, except links to a folder that contains the link. A folder
  that can be reached by several paths is listed once, by the path with the fewest links to folders.
- Broken links, unreadable files and folders, pipes, sockets and devices are skipped.

:func:`list_files` reports the skipped paths in a single warning.
"""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

from whichgen.errors import WhichgenWarning

AnyPath = TypeVar("AnyPath", bound=PurePath)

#: Function that takes the paths of the files that have none of the selected suffixes, and returns
#: their description for a warning, or an empty string to omit them from the warning.
DescribeOthers = Callable[[Sequence[PurePath]], str]

#: Names, in lower case, of files and folders that operating systems, network storage and Python
#: create.
SYSTEM_NAMES = frozenset(
    {
        *("@eadir", "#recycle", "#snapshot", "@tmp", "@synoresource"),  # Synology
        *("@recycle", "@recently-snapshot", "@__thumb"),  # QNAP
        *("$recycle.bin", "recycler", "system volume information", "found.000"),  # Windows
        *("thumbs.db", "ehthumbs.db", "desktop.ini"),
        *("__macosx", "icon\r", "network trash folder", "temporary items"),  # macOS
        *("lost+found", "__pycache__"),
    }
)

#: Reasons for skipping a path.
SYSTEM = "hidden or system file or folder"
BROKEN_LINK = "broken link"
REPEATED_LINK = "link to a folder that is listed already or contains the link"
UNREADABLE = "unreadable file or folder"
SPECIAL = "pipe, socket or device"

#: Maximum number of names listed per reason.
_MAX_NAMES = 3


@dataclass(frozen=True)
class SkippedPath:
    """A path that is skipped when a folder is listed.

    Parameters
    ----------
    path
        Path relative to the listed folder.
    reason
        Reason for skipping the path, such as :data:`BROKEN_LINK`.
    """

    path: PurePath
    reason: str


@dataclass(frozen=True)
class FolderListing:
    """The files in a folder and its subfolders.

    Parameters
    ----------
    files
        Paths of the regular files that are not skipped, relative to the folder, in no defined
        order.
    skipped
        The skipped paths, in natural order.
    """

    files: tuple[PurePath, ...]
    skipped: tuple[SkippedPath, ...]


def make_natural_key(text: str) -> list[int | str]:
    """Return a sort key for natural order: ``img2`` comes before ``img10``."""
    return [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", text)]


def is_system_path(path: PurePath) -> bool:
    """Return whether a path is a hidden or system file or folder, or is inside such a folder."""
    return any(
        (part.startswith(".") and part != "..") or part.lower() in SYSTEM_NAMES
        for part in path.parts
    )


def select_paths(paths: Iterable[AnyPath], suffixes: Collection[str]) -> list[AnyPath]:
    """Return the relative paths that have one of the suffixes, in natural order.

    Hidden and system files (:func:`is_system_path`) are omitted.

    Parameters
    ----------
    paths
        Paths relative to a folder.
    suffixes
        Lowercase suffixes with their dots; the comparison is case-insensitive.
    """
    visible = [p for p in paths if p.suffix.lower() in suffixes and not is_system_path(p)]
    return sorted(visible, key=_make_path_key)


def list_files(
    folder: Path, suffixes: Collection[str], describe_others: DescribeOthers = lambda _: ""
) -> list[Path]:
    """List the files in a folder and its subfolders that have one of the suffixes.

    The module docstring states which paths are skipped.

    Parameters
    ----------
    folder
        The folder.
    suffixes
        Lowercase suffixes with their dots; the comparison is case-insensitive.
    describe_others
        Function that returns the part of the warning about the files that have none of the
        suffixes; by default, they are not reported.

    Returns
    -------
    list of Path
        Paths of the files in natural order. Each path begins with ``folder``.

    Warns
    -----
    WhichgenWarning
        Paths are skipped, or ``describe_others`` returns a description
        (:func:`warn_skipped_paths`). Pipes, sockets and devices are reported only if they have one
        of the suffixes.
    """
    listing = list_folder(folder)
    skipped = [
        s for s in listing.skipped if s.reason != SPECIAL or s.path.suffix.lower() in suffixes
    ]
    others = [folder / path for path in listing.files if path.suffix.lower() not in suffixes]
    warn_skipped_paths(str(folder), skipped, describe_others(others) if others else "")
    return [folder / path for path in select_paths(listing.files, suffixes)]


def list_folder(folder: Path) -> FolderListing:
    """List the regular files in a folder and its subfolders, and the skipped paths.

    The module docstring states which paths are skipped. If ``folder`` itself can't be read, it is
    the only skipped path.
    """
    files, skipped = list[PurePath](), list[SkippedPath]()
    visited = set[tuple[int, int]]()
    folders, links = deque([PurePath()]), deque[PurePath]()
    while folders or links:
        # Visit folders before links, so that a folder is listed by the path with the fewest links.
        is_link = not folders
        parent = links.popleft() if is_link else folders.popleft()
        try:
            status = (folder / parent).stat()
            is_loop = is_link and _points_to_ancestor(folder / parent)
            if is_loop or (status.st_dev, status.st_ino) in visited:
                skipped.append(SkippedPath(parent, REPEATED_LINK))
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(folder / parent) as entries:
                sorted_entries = sorted(entries, key=lambda entry: make_natural_key(entry.name))
        except OSError:
            skipped.append(SkippedPath(parent, UNREADABLE))
            continue
        for entry in sorted_entries:
            path = parent / entry.name
            if is_system_path(PurePath(entry.name)):
                skipped.append(SkippedPath(path, SYSTEM))
                continue
            try:
                mode = entry.stat().st_mode
            except OSError:
                reason = BROKEN_LINK if entry.is_symlink() else UNREADABLE
                skipped.append(SkippedPath(path, reason))
                continue
            if stat.S_ISDIR(mode):
                (links if entry.is_symlink() else folders).append(path)
            elif stat.S_ISREG(mode):
                files.append(path)
            else:
                skipped.append(SkippedPath(path, SPECIAL))
    return FolderListing(tuple(files), tuple(sorted(skipped, key=lambda s: _make_path_key(s.path))))


def _points_to_ancestor(link: Path) -> bool:
    """Return whether a link points to a folder that contains the link."""
    target = Path(os.path.realpath(link))
    return Path(os.path.realpath(link.parent)).is_relative_to(target)


def warn_skipped_paths(folder: str, skipped: Iterable[SkippedPath], others: str = "") -> None:
    """Warn about the skipped paths of a folder, with their number and examples for each reason.

    Parameters
    ----------
    folder
        Path or URL of the folder.
    skipped
        The skipped paths and the reasons.
    others
        Description of the files that have none of the selected suffixes; empty to omit them.

    Warns
    -----
    WhichgenWarning
        ``skipped`` or ``others`` is not empty.
    """
    by_reason: dict[str, list[PurePath]] = {}
    for item in skipped:
        by_reason.setdefault(item.reason, []).append(item.path)
    if parts := [*_summarize(by_reason), *filter(None, [others])]:
        warnings.warn(f"Skipped in {folder}: {'; '.join(parts)}", WhichgenWarning, stacklevel=1)


def _summarize(by_reason: dict[str, list[PurePath]]) -> Iterator[str]:
    for reason, paths in by_reason.items():
        # Many folders have hidden files of the same name, so list each name once.
        names = list(dict.fromkeys(p.name if reason == SYSTEM else p.as_posix() for p in paths))
        more = ", …" if len(names) > _MAX_NAMES else ""
        yield f"{len(paths)} × {reason} ({', '.join(names[:_MAX_NAMES])}{more})"


def _make_path_key(path: PurePath) -> list[list[int | str]]:
    return [make_natural_key(part) for part in path.parts]
