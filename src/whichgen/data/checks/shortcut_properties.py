"""Low-level properties of images: size, format, metadata, quantization and color statistics.

A reliable classifier does not depend on these properties. :mod:`whichgen.training.shortcut_check`
measures how well the properties alone predict the origin.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from whichgen.data.images.image_facts import ImageFacts

#: Pillow names of the formats and color modes that are distinguished; any other format or mode is
#: ``other``.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_MODES = ("RGB", "RGBA", "L", "LA", "P", "CMYK", "I;16", "1")

#: Names of the color statistics.
_COLOR = tuple(f"{s}_{channel}" for s in ("mean", "std") for channel in ("red", "green", "blue"))

#: Names of the file properties.
_FILE = (
    *("bytes", "bytes_per_pixel", "width", "height", "aspect"),
    *(f"format_{name}" for name in (*_FORMATS, "other")),
    *(f"mode_{name}" for name in (*_MODES, "other")),
    "exif",
    "icc",
    *(f"quantization_{table}_{i}" for table in range(2) for i in range(64)),
)

#: Names of all properties, in the order of the columns of :func:`list_properties`.
PROPERTIES = (*_FILE, *_COLOR)
_COLUMNS = {name: column for column, name in enumerate(PROPERTIES)}

#: Sets of properties that are evaluated separately.
PROPERTY_SETS: dict[str, tuple[str, ...]] = {"file": _FILE, "color": _COLOR, "all": PROPERTIES}


def list_properties(images: Sequence[ImageFacts]) -> np.ndarray:
    """Return all :data:`PROPERTIES` of n image files: finite float64 array (n, n_properties).

    - ``bytes``: file size in bytes. ``bytes_per_pixel``: file size divided by the number of pixels.
    - ``width``, ``height``: size in pixels, before EXIF rotation (TIFF: after EXIF rotation).
      ``aspect``: width divided by height.
    - ``format_…``, ``mode_…``: 1 for the format and the color mode of the file (``other`` if there
      is no property for it), 0 for all other formats and modes.
    - ``exif``: 1 if the file has EXIF metadata, otherwise 0 (TIFF: always 0). ``icc``: 1 if the
      file has an ICC profile, otherwise 0.
    - ``quantization_…``: entries of quantization tables 0 (luminance) and 1 (chrominance) of a JPEG
      file; 0 for a missing table and for other formats.
    - ``mean_…``, ``std_…``: mean and standard deviation of each channel over all pixels, in
      [0, 255], after :func:`~whichgen.data.images.decoding.decode_image`.
    """
    rows = np.zeros((len(images), len(PROPERTIES)))
    for row, image in zip(rows, images, strict=True):
        values: dict[str, float] = {
            "bytes": image.file_size,
            "bytes_per_pixel": image.file_size / (image.width * image.height),
            "width": image.width,
            "height": image.height,
            "aspect": image.width / image.height,
            f"format_{image.format if image.format in _FORMATS else 'other'}": 1,
            f"mode_{image.mode if image.mode in _MODES else 'other'}": 1,
            "exif": image.has_exif,
            "icc": image.has_profile,
            **dict(zip(_COLOR, (*image.mean, *image.std), strict=True)),
        }
        for table, entries in enumerate(image.quantization):
            values |= {f"quantization_{table}_{i}": entry for i, entry in enumerate(entries)}
        row[[_COLUMNS[name] for name in values]] = list(values.values())
    return rows


def select_properties(values: np.ndarray, names: Iterable[str]) -> np.ndarray:
    """Select the columns of some properties.

    Parameters
    ----------
    values
        Array (n, n_properties) from :func:`list_properties`.
    names
        Names of the properties; a subset of :data:`PROPERTIES`.

    Returns
    -------
    ndarray of shape (n, n_names)
        The columns, in the order of ``names``.
    """
    return values[:, [_COLUMNS[name] for name in names]]
