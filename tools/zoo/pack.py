"""The demo pack: real crops and generated images, finished all alike.

Whatever the origin, an image is 64×64 uint8 pixels to begin with, is refused if it is flat or
nearly the same as one already taken, and then goes through :func:`finish`. So neither size, format,
mode nor metadata tells the origins apart: only what the generator did.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from tools.zoo import photos
from tools.zoo.families import Family

#: Images of each origin.
EACH = 80

# Final side in pixels: above the 64 that whichgen asks of an image at least.
_FINAL_SIDE = 96
# Perceptual hashes that differ in at most this many bits are taken for the same picture; as in
# whichgen.data.duplicates.
_NEAR = 4
# Images a generator draws at a time, and how many times it may before it counts as collapsed.
_ROUND, _ROUNDS = 50, 12


@dataclass
class Origin:
    """The images of one origin: WebP bytes, each one's group, and how many were refused."""

    name: str
    images: list[bytes] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    flat: int = 0
    near: int = 0
    _hashes: list[imagehash.ImageHash] = field(default_factory=list)

    def take(self, pixels: np.ndarray, group: str = "") -> bool:
        """Take an image (uint8 (64, 64, 3)) unless it is flat or nearly one already taken."""
        if photos.is_flat(pixels):
            self.flat += 1
            return False
        image = finish(pixels)
        hashed = imagehash.phash(image)
        if any(hashed - other <= _NEAR for other in self._hashes):
            self.near += 1
            return False
        stream = io.BytesIO()
        image.save(stream, format="WEBP", lossless=True, quality=100, method=6)
        self.groups.append(group or f"{self.name}-{len(self.images):04d}")
        self.images.append(stream.getvalue())
        self._hashes.append(hashed)
        return True

    @property
    def full(self) -> bool:
        """Whether there are as many images as an origin has."""
        return len(self.images) >= EACH


def finish(pixels: np.ndarray) -> Image.Image:
    """The last step of every image of the pack: 64×64 → 96×96, Lanczos."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return image.resize((_FINAL_SIDE, _FINAL_SIDE), Image.Resampling.LANCZOS)


def real(seed: int) -> Origin:
    """Fresh crops, cut as those for training are: one of each photograph in turn until it is full.

    A crop's group is its photograph, so that no photograph ends up on both sides of a split.
    """
    origin = Origin("real")
    listed = photos.listed()
    chosen = [listed[i] for i in np.random.default_rng(seed).permutation(len(listed))]
    streams = [photos.crops(photos.load(p), (seed, i)) for i, p in enumerate(chosen)]
    while not origin.full:
        for photo, stream in zip(chosen, streams, strict=True):
            # A photograph of a smooth sky may have nothing new to give: ten tries, then the next.
            any(origin.full or origin.take(crop, photo.id) for crop in islice(stream, 10))
    return origin


def generated(family: Family, seed: int) -> Origin:
    """Images of a trained generator, each a group of its own.

    Raises
    ------
    RuntimeError
        Most of what it draws is flat or nearly the same: it has to be trained again.
    """
    origin, module = Origin(family.name), family.load()
    for number in range(_ROUNDS):
        for pixels in family.sample(module, _ROUND, seed + number):
            if not origin.full:
                origin.take(pixels)
        if origin.full:
            return origin
    raise RuntimeError(
        f"{family.name}: only {len(origin.images)} of {_ROUNDS * _ROUND} images can be kept "
        f"({origin.flat} are flat, {origin.near} nearly the same). Train it again."
    )


def origins(families: Iterable[Family], seed: int, say: Callable[[str], None]) -> Iterator[Origin]:
    """The real images, then those of each generator."""
    yield _told(real(seed), say)
    for family in families:
        yield _told(generated(family, seed), say)


def _told(origin: Origin, say: Callable[[str], None]) -> Origin:
    say(
        f"{origin.name}: {len(origin.images)} images, {sum(map(len, origin.images)) / 1e6:.2f} MB; "
        f"refused {origin.flat} flat, {origin.near} nearly the same"
    )
    return origin


def write(packed: Iterable[Origin], folder: Path) -> list[Origin]:
    """Write ``images/<origin>/0000.webp`` … and ``groups.tsv``, in place of any there were."""
    done = list(packed)
    shutil.rmtree(folder / "images", ignore_errors=True)
    lines = ["path\tgroup"]
    for origin in done:
        (folder / "images" / origin.name).mkdir(parents=True)
        for number, (data, group) in enumerate(zip(origin.images, origin.groups, strict=True)):
            path = f"{origin.name}/{number:04d}.webp"
            (folder / "images" / path).write_bytes(data)
            lines.append(f"{path}\t{group}")
    (folder / "groups.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return done
