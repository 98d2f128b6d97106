"""Copy photographs as websites publish them: scaled down, sharpened and recompressed.

Most published photographs are not the files of a camera. A model that is trained only on the files
of cameras classifies a quarter of resized photographs as synthetic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from whichgen.constants import REAL
from whichgen.data.dataset import Sample

#: Minimum length of the shorter side of a copy in pixels.
_MIN_SIDE = 128

#: Resampling filters, one of which is chosen at random.
_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def write_copies(samples: Iterable[Sample], folder: Path) -> list[Sample]:
    """Write one copy of each photograph to a folder, and return the copies as samples.

    A copy has the origin and the source of its photograph. Existing files are not written again.
    """
    copies = []
    photographs = sorted((s for s in samples if s.origin == REAL), key=lambda s: str(s.path))
    for row, sample in enumerate(photographs):
        rng = np.random.default_rng([0, row])
        kind = "jpg" if rng.random() < 0.75 else "webp"
        path = folder / sample.source / f"{sample.path.stem}.{kind}"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            quality = int(rng.integers(60, 97))
            with Image.open(sample.path) as image:
                scale_down(image.convert("RGB"), rng).save(path, quality=quality)
        copies.append(replace(sample, path=path))
    return copies


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
