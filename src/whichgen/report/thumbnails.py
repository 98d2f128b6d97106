"""Create thumbnails of test images for the HTML page."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from whichgen.data.images.decoding import make_thumbnail, read_image
from whichgen.errors import ImageError
from whichgen.io.file_names import unescape_name

#: Maximum length of the longer side of a thumbnail in pixels, and WebP quality (0 to 100).
_SIDE, _QUALITY = 96, 70


@dataclass
class Thumbnails:
    """Thumbnails of images by path.

    Parameters
    ----------
    enabled
        Whether :meth:`add` creates thumbnails.
    uris
        ``uris[path]`` is the thumbnail of an image, in WebP format, as a ``data:`` URI.
    missing
        Paths of missing and unreadable images.
    """

    enabled: bool = True
    uris: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def add(self, paths: Iterable[str]) -> None:
        """Create the thumbnails of images that have no thumbnail yet.

        The paths of missing and unreadable images are added to :attr:`missing`. These images are
        not read again. A path can contain escaped bytes
        (:func:`~whichgen.io.file_names.escape_name`), as in ``predictions.csv``.
        """
        for path in paths if self.enabled else ():
            if path in self.uris or path in self.missing:
                continue
            try:
                file = Path(path) if os.path.lexists(path) else Path(unescape_name(path))
                data = make_thumbnail(read_image(file), _SIDE, kind="WEBP", quality=_QUALITY)
            except ImageError:
                self.missing.add(path)
                continue
            self.uris[path] = f"data:image/webp;base64,{base64.b64encode(data).decode()}"
