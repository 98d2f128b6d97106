"""Find the image files that the arguments of a command refer to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whichgen.errors import DataError


def find_images(paths: Sequence[Path]) -> list[Path]:
    """List the image files that command-line arguments refer to.

    Parameters
    ----------
    paths
        Image files, folders (all images in them and their subfolders), ``@FILE`` (a list of these;
        see :func:`~whichgen.data.tables.path_lists.get_list_file`), or ``-`` (standard input).

    Returns
    -------
    list of Path
        The files in the order of ``paths``. Files from folders exist and have the suffix of an
        image; other paths are not checked. Standard input is copied to a temporary file.

    Raises
    ------
    DataError
        A folder or list contains no images, a list or standard input can't be read, a path is a
        URL, or a ``.json`` or ``.csv`` file does not exist (the user probably meant an output
        file).
    OSError
        Standard input can't be copied to a temporary file.

    Warns
    -----
    WhichgenWarning
        Files in a folder are skipped, columns of a list are ignored, or an argument that begins
        with ``@`` is the path of an existing file or folder.
    """
    from whichgen.cli.image_from_stdin import DASH, save_standard_input
    from whichgen.data.dataset import list_images
    from whichgen.data.tables.path_lists import get_list_file, read_path_list

    files: list[Path] = []
    for path in paths:
        if str(path) == DASH:
            files.append(save_standard_input())
            continue
        list_file = get_list_file(str(path))
        entries = list(map(Path, read_path_list(list_file))) if list_file else [path]
        for entry in entries:
            _reject_url(entry)
        images = [
            image
            for entry in entries
            for image in (list_images(entry) if entry.is_dir() else [entry])
        ]
        if not list_file and path.suffix in (".json", ".csv") and not path.exists():
            raise DataError(
                f"{path} does not exist. Specify image files or folders. To write results to this "
                f"file, use a command with the option --{path.suffix[1:]} and redirect its output: "
                f"--{path.suffix[1:]} > {path}"
            )
        if not images:
            raise DataError(
                f"{path} contains no images. Specify image files or a folder of images."
            )
        files += images
    return files


def _reject_url(path: Path) -> None:
    """Raise :class:`DataError` if a path is a URL; ``Path`` has converted ``://`` to ``:/``."""
    scheme, colon, location = str(path).partition(":/")
    if len(scheme) > 1 and colon and scheme.isalnum() and not path.exists():
        advice = "Download the image first."
        if scheme in ("s3", "hf"):
            advice += " To attribute remote images, use `whichgen attribute-bulk`."
        raise DataError(f"{scheme}://{location.lstrip('/')} is a URL, not a file. {advice}")
