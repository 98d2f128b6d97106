"""Copies of photographs as websites publish them: scaled down, sharpened, recompressed.

Most photographs on websites are not a camera's own files. A model trained on camera files alone
classifies every fourth resized photograph as synthetic, and two of three small ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from whichgen.constants import REAL
from whichgen.data.dataset import Sample

_SMALLEST = 128

#: Shorter side of thumbnails in pixels: smallest and largest.
_THUMBNAIL_SIDES = (128, 640)

_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def write_copies(samples: Iterable[Sample], folder: Path) -> list[Sample]:
    """Write two copies of each photograph to a folder, and return the copies as samples.

    The first copy is compressed and up to three times smaller. The second is a thumbnail; half of
    the thumbnails are lossless. A copy has the origin and the source of its photograph. Files that
    exist are kept.
    """
    copies = []
    photographs = sorted((s for s in samples if s.origin == REAL), key=lambda s: str(s.path))
    for row, sample in enumerate(photographs):
        stem = folder / sample.source / sample.path.stem
        stem.parent.mkdir(parents=True, exist_ok=True)
        for seed, write_copy in enumerate((_write_shrunk, _write_thumbnail)):
            path = write_copy(sample.path, stem, np.random.default_rng([seed, row]))
            copies.append(replace(sample, path=path))
    return copies


def _write_shrunk(photograph: Path, stem: Path, rng: np.random.Generator) -> Path:
    kind = "jpg" if rng.random() < 0.75 else "webp"
    path = stem.with_name(f"{stem.name}.{kind}")
    if not path.exists():
        quality = int(rng.integers(60, 97))
        with Image.open(photograph) as image:
            shrink(image.convert("RGB"), rng).save(path, quality=quality)
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


def shrink(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Scale an RGB image by 0.3 to 1 (at least 128 pixels per side), and sharpen 30 % of them."""
    scale = max(rng.uniform(0.3, 1), _SMALLEST / min(image.size))
    if scale < 1:
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, _FILTERS[rng.integers(len(_FILTERS))])
    if rng.random() < 0.3:
        radius, percent = rng.uniform(0.5, 1.5), int(rng.integers(30, 120))
        image = image.filter(ImageFilter.UnsharpMask(radius, percent, 0))
    return image
