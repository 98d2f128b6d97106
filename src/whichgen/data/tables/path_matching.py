"""Match the paths in a table to the images of a folder.

The paths may be relative or absolute, with or without folders, and may be from another computer or
operating system.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator


class PathMatcher:
    """Matcher that finds the image that a path in a table denotes.

    Four spellings of a path are tried: as written, without surrounding whitespace, then also with
    slashes instead of backslashes, and then also with its bytes decoded as code page 1252
    (Windows). Leading folders of each spelling are removed one by one, except the last folder,
    until the spelling matches an image. A path without a folder matches the only image with this
    file name or, if there are several, the one that is directly in the image folder. ``./``, extra
    slashes and the Unicode form (composed or decomposed letters) are ignored.

    Parameters
    ----------
    images
        Paths of the images with slashes, relative to the image folder or absolute.
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
        """Return the image that matches a path from a table, or ``None`` if no image matches.

        The image is spelled as in ``images``.
        """
        if path in self._exact:
            return path
        for spelling in _yield_spellings(path):
            parts = _normalize(spelling).split("/")
            if len(parts) == 1 and parts[0] in self._by_name:
                return self._by_name[parts[0]]
            # Keep at least one folder, because images in different folders can have the same name.
            for start in range(max(len(parts) - 1, 1)):
                if image := self._images.get("/".join(parts[start:])):
                    return image
        return None


def _yield_spellings(path: str) -> Iterator[str]:
    """Yield the spellings of a path that :meth:`PathMatcher.find` tries, in order."""
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
    """Compose accented letters, which macOS decomposes, and remove ``./`` and extra slashes.

    Extra slashes are repeated, leading and trailing slashes.
    """
    composed = unicodedata.normalize("NFC", path)
    return "/".join(part for part in composed.split("/") if part not in ("", "."))
