"""Match the paths of a table to the images of a folder.

People write paths relative to the folder or absolute, on this computer or on another one with
Windows, with the name of the folder or without any folder.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator


class PathMatcher:
    """Find the image that a written path stands for.

    The first spelling of the path that is unique among the images is its image: as written, without
    blanks around it, with slashes for backslashes, and with bytes that are not UTF-8 as Windows
    encodes them (code page 1252). If there is none, leading folders of the path are removed one by
    one. A file name alone stands for the only image of this name.

    Parameters
    ----------
    images
        Path of each image relative to its folder, with slashes.
    """

    def __init__(self, images: Iterable[str]) -> None:
        self._exact = set(images)
        self._images = {_normalize(image): image for image in self._exact}
        names = Counter(image.rpartition("/")[2] for image in self._images)
        self._by_name = {
            name: image
            for path, image in self._images.items()
            if names[name := path.rpartition("/")[2]] == 1
        }

    def find(self, path: str) -> str | None:
        """Return the image, or ``None`` if no image or more than one matches the path."""
        if path in self._exact:
            return path
        for spelling in _spell(path):
            parts = _normalize(spelling).split("/")
            if len(parts) == 1 and parts[0] in self._by_name:
                return self._by_name[parts[0]]
            # The name alone does not tell apart images of the same name in two folders.
            for start in range(max(len(parts) - 1, 1)):
                if image := self._images.get("/".join(parts[start:])):
                    return image
        return None


def _spell(path: str) -> Iterator[str]:
    yield path
    path = path.strip()
    yield path
    yield path.replace("\\", "/")
    try:
        data = path.encode(errors="surrogateescape")
        yield data.decode("cp1252").replace("\\", "/")
    except UnicodeError:
        return


def _normalize(path: str) -> str:
    """Compose accents, which macOS decomposes, and remove ``./`` and repeated slashes."""
    composed = unicodedata.normalize("NFC", path)
    return "/".join(part for part in composed.split("/") if part not in ("", "."))
