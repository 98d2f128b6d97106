"""Images named on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument

from whichgen.errors import DataError

Images = Annotated[
    list[Path], Argument(help="Image files, folders, or @FILE with one path per line.")
]


def find_images(paths: list[Path]) -> list[Path]:
    """List image files.

    Parameters
    ----------
    paths
        Files, folders (all images below them), and ``@FILE``: a text file with one path per line.

    Raises
    ------
    DataError
        A folder or list contains no image.
    """
    from whichgen.data.dataset import list_images
    from whichgen.data.shards import read_path_list

    files: list[Path] = []
    for path in paths:
        if str(path).startswith("@"):
            images = [Path(line) for line in read_path_list(Path(str(path)[1:]))]
        else:
            images = list_images(path) if path.is_dir() else [path]
        if path.suffix in (".json", ".csv") and not path.exists():
            raise DataError(
                f"{path} does not exist. If it is meant for results: --json and --csv print to "
                f"standard output, so write --json > {path}"
            )
        if not images:
            raise DataError(f"{path} contains no images. Give image files or a folder of images.")
        files += images
    return files
