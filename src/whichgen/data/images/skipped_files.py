"""Describe files that are skipped because their suffix is not the suffix of a supported format."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from whichgen.data.images.unsupported_files import describe_suffix

#: Maximum number of pairs of a suffix and a reason that are listed. The remaining files are counted
#: together.
_MAX_ENTRIES = 8

#: First bytes of files in common image formats (JPEG, PNG, GIF, WebP), to recognize images with an
#: unknown or missing suffix.
_IMAGE_START = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8|RIFF....WEBP", re.DOTALL)

_IMAGE_CONTENT = "an image; rename it with the suffix of its format, such as .jpg"
_UNKNOWN = "not an image format"


def describe_skipped(paths: Sequence[PurePath]) -> str:
    """Describe skipped files: their total number, and the number per suffix and reason.

    Local files with an unknown or missing suffix are opened, to recognize images. Only the eight
    most frequent pairs of a suffix and a reason are listed; the remaining files are counted.

    Parameters
    ----------
    paths
        Paths of the files. A :class:`~pathlib.Path` is local; any other path is not opened.

    Returns
    -------
    str
        Description such as ``6 files: 4 .psd (Photoshop document; export it as PNG), 2 .txt (text
        file)``.
    """
    counts = Counter((path.suffix.lower(), _explain(path)) for path in paths)
    suffix_counts = counts.most_common()
    parts = [
        f"{count} {suffix or 'without suffix'} ({reason})"
        for (suffix, reason), count in suffix_counts[:_MAX_ENTRIES]
    ]
    if n_other := sum(count for _, count in suffix_counts[_MAX_ENTRIES:]):
        parts.append(f"{n_other} more")
    return f"{len(paths)} {'file' if len(paths) == 1 else 'files'}: {', '.join(parts)}"


def _explain(path: PurePath) -> str:
    """Return why a file is skipped."""
    if reason := describe_suffix(path.suffix.lower()):
        return reason
    if isinstance(path, Path):
        try:
            with path.open("rb") as file:
                if _IMAGE_START.match(file.read(16)):
                    return _IMAGE_CONTENT
        except OSError:
            pass
    return _UNKNOWN
