"""The argument ``-``: an image from standard input."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from whichgen.errors import DataError

#: The argument that stands for standard input.
DASH = "-"

# Contains the folder of the temporary file, so that the folder exists until the process ends.
_folders: list[TemporaryDirectory[str]] = []


@cache
def save_standard_input() -> Path:
    """Write the image from standard input to a temporary file, and return the path of the file.

    Later calls return the same path.

    Raises
    ------
    DataError
        Standard input is a terminal, is empty, or exceeds the size limit of image files.
    OSError
        The temporary file can't be written.
    """
    from whichgen.data.images.image_limits import MAX_IMAGE_BYTES

    stream = sys.stdin.buffer
    if stream.isatty():
        raise DataError(
            "the argument - stands for standard input, which is a terminal. Redirect an image "
            "file, e.g. `whichgen attribute - < photo.jpg`."
        )
    data = stream.read(MAX_IMAGE_BYTES + 1)
    if not data:
        raise DataError(
            "standard input is empty. Redirect an image file, e.g. `whichgen attribute - < "
            "photo.jpg`."
        )
    if len(data) > MAX_IMAGE_BYTES:
        limit = f"{MAX_IMAGE_BYTES // 2**20} MiB"
        raise DataError(
            f"standard input exceeds the limit of {limit}. Redirect a smaller image file."
        )
    _folders.append(TemporaryDirectory(prefix="whichgen-"))
    file = Path(_folders[-1].name) / DASH
    file.write_bytes(data)
    return file


def restore_dash(text: str) -> str:
    """Replace the path of the temporary file with ``-`` in a text."""
    return text.replace(str(save_standard_input()), DASH) if _folders else text
