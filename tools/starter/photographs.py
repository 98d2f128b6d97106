"""Copy photographs as websites publish them: scaled down, sharpened and recompressed.

Most published photographs are not the files of a camera. A model that is trained only on the files
of cameras classifies a quarter of resized photographs and two thirds of small photographs as
synthetic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from whichgen.constants import REAL
from whichgen.data.dataset import Sample

#: Minimum length of the shorter side of a resized copy in pixels.
_MIN_SIDE = 128

#: Minimum and maximum length of the shorter side of a thumbnail in pixels.
_THUMBNAIL_SIDES = (128, 640)

#: Resampling filters, one of which is chosen at random.
_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def write_copies(samples: Iterable[Sample], folder: Path) -> list[Sample]:
    """Write two copies of each photograph to a folder, and return the copies as samples.

    The first copy is compressed and up to three times smaller. The second is a thumbnail; half of
    the thumbnails are lossless. A copy has the origin and the source of its photograph. Existing
    files are not written again.
    """
    copies = []
    photographs = sorted((s for s in samples if s.origin == REAL), key=lambda s: str(s.path))
    for row, sample in enumerate(photographs):
        stem = folder / sample.source / sample.path.stem
        stem.parent.mkdir(parents=True, exist_ok=True)
        for seed, write_copy in enumerate((_write_resized, _write_thumbnail)):
            path = write_copy(sample.path, stem, np.random.default_rng([seed, row]))
            copies.append(replace(sample, path=path))
    return copies


def _write_resized(photograph: Path, stem: Path, rng: np.random.Generator) -> Path:
    kind = "jpg" if rng.random() < 0.75 else "webp"
    path = stem.with_name(f"{stem.name}.{kind}")
    if not path.exists():
        quality = int(rng.integers(60, 97))
        with Image.open(photograph) as image:
            scale_down(image.convert("RGB"), rng).save(path, quality=quality)
    return path


def _write_thumbnail(photograph: Path, stem: Path, rng: np.random.Generator) -> Path:
    side = float(np.exp(rng.uniform(*np.log(_THUMBNAIL_SIDES))))
    resampling, kind = _FILTERS[rng.integers(len(_FILTERS))], "png" if rng.random() < 0.5 else "jpg"
    path = stem.with_name(f"{stem.name}-thumbnail.{kind}")
    if not path.exists():
        with Image.open(photograph) as image:
            scale = min(1, side / min(image.size))
            size = (round(image.width * scale), round(image.height * scale))
            thumbnail = image.convert("RGB").resize(size, resampling)
        thumbnail.save(path, quality=int(rng.integers(75, 97)))
    return path


def scale_down(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Scale an RGB image by a random factor from 0.3 to 1, and sharpen 30 % of the images.

    The shorter side of the result has at least 128 pixels, unless the image is smaller.
    """
    scale = max(rng.uniform(0.3, 1), _MIN_SIDE / min(image.size))
    if scale < 1:
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, _FILTERS[rng.integers(len(_FILTERS))])
    if rng.random() < 0.3:
        radius, percent = rng.uniform(0.5, 1.5), int(rng.integers(30, 120))
        image = image.filter(ImageFilter.UnsharpMask(radius, percent, 0))
    return image
