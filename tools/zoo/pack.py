"""Select and write the images of the demo pack.

All origins have the same number of images with nearly the same color, contrast and detail
(``matching.py``), the same size, and the same PNG settings, so that only the pixels show which
generator made an image. ``whichgen dataset check`` and the shortcut check of each run confirm this.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tools.zoo import matching, photos
from tools.zoo.registry import Generator

#: Number of images per origin.
IMAGES = 60

#: Maximum number of real crops per photograph.
_PER_PHOTO = 2

#: File format of all images: no compression, so that all files have the same size.
ENCODER = {"format": "PNG", "compress_level": 0}


@dataclass(frozen=True)
class Origin:
    """Name of an origin, and the content and the group of each of its image files."""

    name: str
    images: list[bytes]
    groups: list[str]


def select_images(generators: Sequence[Generator], echo: Callable[[str], None]) -> list[Origin]:
    """Select the real crops that all generators match best, and the matching generated images.

    Parameters
    ----------
    generators
        Generators whose candidates have been saved.
    echo
        Function that prints a line for each generator.

    Returns
    -------
    list of Origin
        ``real``, and then the generators in the order of ``generators``.
    """
    crops = photos.load_candidate_crops()
    targets = matching.compute_statistics(crops)
    candidates = [np.load(generator.candidates) for generator in generators]
    worst = np.max([matching.assign(targets, images)[1] for images in candidates], axis=0)
    real = _choose_crops(worst)
    listed = photos.read_list()
    groups = [listed[i // photos.CANDIDATE_CROPS].id for i in real]
    origins = [Origin("real", [_encode(image) for image in crops[real]], groups)]
    for generator, images in zip(generators, candidates, strict=True):
        chosen, distances = matching.assign(targets[real], images)
        echo(f"{generator.name}: median distance to the matched crop {np.median(distances):.1f}")
        names = [f"{generator.name}-{i:04d}" for i in range(len(chosen))]
        origins.append(Origin(generator.name, [_encode(i) for i in images[chosen]], names))
    return origins


def _choose_crops(distances: np.ndarray) -> np.ndarray:
    """Return the indices of the crops with the smallest distances, at most two per photograph."""
    per_photo = distances.reshape(-1, photos.CANDIDATE_CROPS)
    best = np.argsort(per_photo, axis=1)[:, :_PER_PHOTO]
    index = (best + np.arange(len(per_photo))[:, None] * photos.CANDIDATE_CROPS).ravel()
    return np.sort(index[np.argsort(distances[index])[:IMAGES]])


def _encode(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, **ENCODER)
    return stream.getvalue()


def write_pack(origins: Sequence[Origin], folder: Path) -> None:
    """Replace the images (``images/ORIGIN/0000.png`` …) and ``groups.tsv`` in a folder."""
    shutil.rmtree(folder / "images", ignore_errors=True)
    lines = ["path\tgroup"]
    for origin in origins:
        (folder / "images" / origin.name).mkdir(parents=True)
        for number, (data, group) in enumerate(zip(origin.images, origin.groups, strict=True)):
            path = f"{origin.name}/{number:04d}.{ENCODER['format'].lower()}"
            (folder / "images" / path).write_bytes(data)
            lines.append(f"{path}\t{group}")
    (folder / "groups.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
