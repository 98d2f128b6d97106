"""Small copies of images, to stand in the page itself."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from whichgen.data.reading import make_thumbnail, read_image
from whichgen.errors import ImageError

#: The longer side, in pixels.
SIDE = 96
_QUALITY = 70


@dataclass
class Thumbnails:
    """Each image once, however often it is asked for.

    ``uris`` are ``data:`` URIs, ``number`` says by path which one is whose, and ``gone`` are the
    paths of images that can not be read any more. With ``wanted`` off there are none.
    """

    wanted: bool = True
    uris: list[str] = field(default_factory=list)
    number: dict[str, int] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def add(self, paths: Iterable[str]) -> None:
        """Reads those that it does not have yet."""
        for path in paths if self.wanted else ():
            if path in self.number or path in self.gone:
                continue
            try:
                # A run's folder may come from anyone: a path of a device or a pipe would never end.
                there = Path(path).is_file()
                uri = _uri(Path(path)) if there else ""
            except (ImageError, ValueError):
                uri = ""
            if not uri:
                self.gone.add(path)
                continue
            self.number[path] = len(self.uris)
            self.uris.append(uri)

    def uri(self, path: str) -> str | None:
        """A path's image, if there is one."""
        number = self.number.get(path)
        return None if number is None else self.uris[number]


def _uri(path: Path) -> str:
    """An image file's small copy as a ``data:`` URI."""
    small = make_thumbnail(read_image(path), SIDE, kind="WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(small).decode()}"
