"""Read low-level properties of image files: size, format, quantization tables, color statistics.

A reliable classifier does not depend on these properties. :mod:`whichgen.training.shortcuts`
measures how well they alone predict the origin.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whichgen.data.checks.duplicates import map_files
from whichgen.data.images.reading import decode_image, load_image, open_image, read_bytes
from whichgen.errors import ImageError
from whichgen.progress import Progress, no_progress

#: Formats and modes by their Pillow name; all others count as ``other``.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_MODES = ("RGB", "RGBA", "L", "LA", "P", "CMYK", "I;16", "1")

_COLOR = tuple(f"{s}_{channel}" for s in ("mean", "std") for channel in ("red", "green", "blue"))

_FILE = (
    *("bytes", "bytes_per_pixel", "width", "height", "aspect"),
    *(f"format_{name}" for name in (*_FORMATS, "other")),
    *(f"mode_{name}" for name in (*_MODES, "other")),
    "exif",
    "icc",
    *(f"quantization_{table}_{i}" for table in range(2) for i in range(64)),
)

#: Names of all properties, in the order of :func:`read_properties`.
PROPERTIES = (*_FILE, *_COLOR)

#: Subsets of properties that are evaluated separately: of the file, of the pixels, and all.
PROPERTY_SETS: dict[str, tuple[str, ...]] = {"file": _FILE, "color": _COLOR, "all": PROPERTIES}


@dataclass(frozen=True)
class FileProperties:
    """Properties of several image files, of which n_readable can be read.

    Parameters
    ----------
    values
        float64 array of shape (n_readable, n_properties): the :data:`PROPERTIES` of each file, in
        this order.
    rows
        int64 array of shape (n_readable,): index of each readable file among all files, in
        ascending order.
    errors
        One message per missing or unreadable file.
    """

    values: np.ndarray
    rows: np.ndarray
    errors: tuple[str, ...]

    def columns(self, names: Iterable[str]) -> np.ndarray:
        """Return the values of the named properties: float64 array of shape (n_readable, n_names).

        The columns are in the order of ``names``.
        """
        return self.values[:, [PROPERTIES.index(name) for name in names]]


def read_properties(path: Path) -> np.ndarray:
    """Read all :data:`PROPERTIES` of an image file: finite float64 array of shape (n_properties,).

    - ``bytes``: file size in bytes. ``bytes_per_pixel``: file size divided by the number of pixels.
    - ``width``, ``height``: in pixels, before EXIF rotation. ``aspect``: width divided by height.
    - ``format_…``, ``mode_…``: 1 for the format and the color mode of the file, 0 for all others.
    - ``exif``, ``icc``: 1 if the file has EXIF metadata or an ICC profile, otherwise 0.
    - ``quantization_…``: entries of the first two quantization tables of a JPEG (luminance and
      chrominance); 0 for a missing table and for other formats.
    - ``mean_…``, ``std_…``: mean and standard deviation of each channel over all pixels, in
      [0, 255], after :func:`~whichgen.data.images.reading.decode_image`.

    Raises
    ------
    ImageError
        The file can't be read or decoded.
    """
    data = read_bytes(path)
    pixels = np.asarray(decode_image(data, str(path))).reshape(-1, 3)
    with open_image(data) as header:
        if header.format == "PNG":
            header.info |= load_image(data).info  # PNG metadata may follow the pixels
        width, height = header.size
        tables: dict[int, Sequence[int]] = getattr(header, "quantization", {})
        properties: dict[str, float] = {
            "bytes": len(data),
            "bytes_per_pixel": len(data) / (width * height),
            "width": width,
            "height": height,
            "aspect": width / height,
            f"format_{header.format if header.format in _FORMATS else 'other'}": 1,
            f"mode_{header.mode if header.mode in _MODES else 'other'}": 1,
            "exif": float(not header.info.keys().isdisjoint(("exif", "Raw profile type exif"))),
            "icc": float(bool(header.info.get("icc_profile"))),
        }
    for table in range(2):
        for i, value in enumerate(tables.get(table, ())):
            properties[f"quantization_{table}_{i}"] = value
    properties |= dict(zip(_COLOR, (*pixels.mean(axis=0), *pixels.std(axis=0)), strict=True))
    return np.array([properties.get(name, 0) for name in PROPERTIES], dtype=np.float64)


def read_all_properties(
    paths: Sequence[Path], *, progress: Progress = no_progress
) -> FileProperties:
    """Read the properties of several image files; unreadable files have an error but no row."""
    results = map_files(
        read_properties, paths, progress=progress, description="Reading file properties"
    )
    rows = [i for i, result in enumerate(results) if not isinstance(result, ImageError)]
    return FileProperties(
        values=np.array([results[i] for i in rows]).reshape(len(rows), len(PROPERTIES)),
        rows=np.array(rows, dtype=np.int64),
        errors=tuple(str(result) for result in results if isinstance(result, ImageError)),
    )
