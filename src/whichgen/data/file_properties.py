"""What a file tells of an image without a look at the picture: size, format, tables, mean color.

These are what a classifier must *not* need. :mod:`whichgen.training.shortcuts` measures how well
origins are told apart by them alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whichgen.data.reading import decode_image, open_image, read_bytes
from whichgen.errors import ImageError
from whichgen.progress import Progress, no_progress

#: Formats and modes as Pillow names them; whatever else there is counts as ``other``.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_MODES = ("RGB", "RGBA", "L", "LA", "P", "CMYK", "I;16", "1")

_CHANNELS = ("red", "green", "blue")

_COLOR = (*(f"mean_{c}" for c in _CHANNELS), *(f"std_{c}" for c in _CHANNELS))

_FILE = (
    "bytes",
    "bytes_per_pixel",
    "width",
    "height",
    "aspect",
    *(f"format_{name}" for name in (*_FORMATS, "other")),
    *(f"mode_{name}" for name in (*_MODES, "other")),
    "exif",
    "icc",
    *(f"quantization_{table}_{i}" for table in range(2) for i in range(64)),
)

#: The name of each trait, in the order of :func:`read_properties`.
PROPERTIES = (*_FILE, *_COLOR)

#: Traits that are looked at together: those of the file, those of the pixels, and all.
PROPERTY_SETS: dict[str, tuple[str, ...]] = {"file": _FILE, "color": _COLOR, "all": PROPERTIES}


@dataclass(frozen=True)
class FileProperties:
    """The traits of many files.

    Parameters
    ----------
    values
        float64 array (readable files, :data:`PROPERTIES`).
    rows
        Which of the paths given each row is of: int64 array (readable files,), rising.
    errors
        Why each of the other files can't be read.
    """

    values: np.ndarray
    rows: np.ndarray
    errors: tuple[str, ...]

    def columns(self, names: Iterable[str]) -> np.ndarray:
        """The traits named, in the order given: float64 array (readable files, names)."""
        return self.values[:, [PROPERTIES.index(name) for name in names]]


def read_properties(path: Path) -> np.ndarray:
    """All :data:`PROPERTIES` of one file: float64 array (traits,), every one finite.

    Width, height, format and mode are those stored, before EXIF rotation. ``format_…``, ``mode_…``,
    ``exif`` and ``icc`` are 0 or 1. Quantization tables are JPEG's first two (luminance and
    chrominance), 0 where there are none. Means and standard deviations of the channels are over all
    pixels as :func:`~whichgen.data.reading.decode_image` gives them, in [0, 255].

    Raises
    ------
    ImageError
        The file can't be read.
    """
    data = read_bytes(path)
    pixels = np.asarray(decode_image(data, str(path))).reshape(-1, 3)
    with open_image(data) as header:
        if header.format == "PNG":
            header.load()  # what stands behind the pixels is read with them
        width, height = header.size
        tables: dict[int, Sequence[int]] = getattr(header, "quantization", {})
        found: dict[str, float] = {
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
            found[f"quantization_{table}_{i}"] = value
    found |= dict(zip(_COLOR, (*pixels.mean(axis=0), *pixels.std(axis=0)), strict=True))
    return np.array([found.get(name, 0) for name in PROPERTIES], dtype=np.float64)


def read_all_properties(
    paths: Sequence[Path], *, progress: Progress = no_progress, threads: int = 4
) -> FileProperties:
    """The traits of many files, read by ``threads`` threads; unreadable ones are left out."""
    pool = ThreadPoolExecutor(threads)
    try:
        results = list(
            progress(
                pool.map(_traits_or_error, paths), description="Reading traits", total=len(paths)
            )
        )
    finally:
        # After Ctrl-C nobody waits for the files still in the queue.
        pool.shutdown(cancel_futures=True)
    rows = [i for i, result in enumerate(results) if not isinstance(result, str)]
    return FileProperties(
        values=np.array([results[i] for i in rows]).reshape(len(rows), len(PROPERTIES)),
        rows=np.array(rows, dtype=np.int64),
        errors=tuple(result for result in results if isinstance(result, str)),
    )


def _traits_or_error(path: Path) -> np.ndarray | str:
    try:
        return read_properties(path)
    except ImageError as error:
        return str(error)
