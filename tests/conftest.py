"""Shared fixtures: small seeded images, tiny random encoders and a counting encoder."""

from __future__ import annotations

import os

# Set before transformers is imported, so that no test waits for the network.
os.environ["HF_HUB_OFFLINE"] = "1"
# OpenVINO, the default, would convert each encoder in each process; tests/encoders/test_openvino.py
# compares its features with those of torch.
os.environ["WHICHGEN_DEVICE"] = "cpu"
# pytest-xdist sets it in its workers, and rich would use it instead of a test's setting.
os.environ.pop("COLUMNS", None)
# For child processes of tests.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import settings
from PIL import Image
from threadpoolctl import threadpool_limits

from whichgen.encoders.encoder import Encoder
from whichgen.encoders.torch_runtime import make_torch_encode
from whichgen.features.store import FeatureStore
from whichgen.heads import solver

# Use the same examples in every run; deadlines are unreliable on a shared machine.
settings.register_profile("whichgen", deadline=None, derandomize=True)
settings.load_profile("whichgen")

#: Folder of optional test material next to the repository; a fresh clone does not have it.
SHARED = Path(os.environ.get("WHICHGEN_SHARED") or Path(__file__).resolve().parents[2] / "shared")

ImageFolder = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the long README tests first, so that no worker is idle at the end."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread: several threads on busy cores are up to 50 times slower, and sums differ."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield


@pytest.fixture
def shared() -> Path:
    """Return the folder ``../shared``; skip the test if it does not exist."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: it comes with the working copy, not with the repository")
    return SHARED


def noise_image(seed: int, size: tuple[int, int] = (32, 32), *, tint: int = 0) -> Image.Image:
    """Create a seeded RGB image: 4 × 4 patches of random color with grain.

    Different seeds give perceptual hashes that are far apart. ``tint`` shifts the grain's strength
    and the red channel, so that images of different tints can be told apart by a classifier.
    """
    rng = np.random.default_rng(seed)
    patches = rng.integers(40, 200, (4, 4, 3)).astype(np.uint8)
    image = Image.fromarray(patches).resize(size, Image.Resampling.NEAREST)
    grain = rng.normal((12 * tint, 0, 0), 3 + 4 * tint, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def noise() -> Callable[..., Image.Image]:
    """:func:`noise_image`, for tests."""
    return noise_image


@pytest.fixture
def fail_to_converge(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes linear probes fail at values of C, in this process only.

    ``fail_to_converge(10.0, n_images=60)``: only if there are 60 training images.
    """
    minimize = solver._minimize

    def make(*values: float, n_images: int = 0) -> None:
        def fail(problem: Any, start: Any, max_iter: int) -> Any:
            if problem.c in values and n_images in (0, len(problem.labels)):
                return None
            return minimize(problem, start, max_iter)

        monkeypatch.setattr(solver, "_minimize", fail)

    return make


@pytest.fixture
def image_folder(tmp_path: Path) -> ImageFolder:
    """Return a function that creates a folder of origins: ``image_folder({"real": 6, "gan": 6})``.

    Keywords: ``name`` of the folder, ``size`` and ``suffix`` of all images, ``seed``. All images
    differ; origins differ in tint, in the order given.
    """

    def make(
        counts: Mapping[str, int],
        *,
        name: str = "images",
        size: tuple[int, int] = (32, 32),
        suffix: str = ".png",
        seed: int = 0,
    ) -> Path:
        folder = tmp_path / name
        for tint, (origin, count) in enumerate(counts.items()):
            (folder / origin).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                image = noise_image(10_000 * seed + 1000 * tint + i, size, tint=tint)
                image.save(folder / origin / f"{i:03d}{suffix}")
        return folder

    return make


def pack_images(file: Path, contents: Mapping[str, bytes], *, rows: int = 3) -> Path:
    """Pack image bytes into a ``.tar``, or a ``.parquet`` with the hub's struct of bytes and path.

    ``rows``: of a group of Parquet's rows.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        images = [{"bytes": data, "path": name} for name, data in contents.items()]
        table = pa.table({"label": list(range(len(images))), "image": images})
        pq.write_table(table, file, row_group_size=rows)
        return file
    with tarfile.open(file, "w") as archive:
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file


def stored_rows(root: Path, encoder: Encoder) -> dict[bytes, bytes]:
    """Reopen a feature store and return its rows by key; check that no key is duplicated."""
    store = FeatureStore(root, encoder)
    assert sum(segment.n_rows for segment in store._segments) == len(store)
    keys = sorted(store.keys())
    blocks = [store.read(keys, b) for b in range(len(store.block_dims))]
    return {k: b"".join(r.tobytes() for r in row) for k, *row in zip(keys, *blocks, strict=True)}


@pytest.fixture(scope="session")
def pack() -> Callable[..., Path]:
    """:func:`pack_images`, for tests."""
    return pack_images


def save_tiny_clip(folder: Path, *, seed: int = 0) -> Path:
    """Save a random CLIP vision tower of 3 blocks × 32 with the config of its image processor."""
    import transformers

    torch.manual_seed(seed)
    config = transformers.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
    )
    transformers.CLIPVisionModel(config).save_pretrained(folder)
    transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random CLIP vision tower (3 blocks × 32, images of 32 × 32); do not modify it."""
    return save_tiny_clip(tmp_path_factory.mktemp("encoders") / "tiny_clip")


@dataclass
class CountingEncoder:
    """Encoder with two blocks of known features: means of 2 × 2 and of 4 × 4 pixels.

    ``images`` counts the images that passed through it, ``calls`` the passes. When ``images`` gets
    to ``fail_at``, the pass raises ``failure``. ``value`` (say NaN) replaces the features of the
    image number ``value_at``.
    """

    fail_at: int | None = None
    failure: BaseException = field(default_factory=KeyboardInterrupt)
    value: float = float("nan")
    value_at: int | None = None
    weights: str = "0" * 32
    calls: int = 0
    images: int = 0

    @property
    def encoder(self) -> Encoder:
        """It, as the rest of whichgen sees it."""
        return Encoder(
            name="counting",
            weights_hash=self.weights,
            preprocessing={"size": 8},
            preprocess=self.preprocess,
            encode=make_torch_encode(self.forward, "cpu", "float32"),
            block_dims=(12, 48),
        )

    @staticmethod
    def preprocess(image: Image.Image) -> np.ndarray:
        """Return 8 × 8 pixels in [0, 1], channels first."""
        small = image.resize((8, 8), Image.Resampling.BOX)
        return np.ascontiguousarray(np.asarray(small, np.float32).transpose(2, 0, 1) / 255)

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Count the images, fail if configured, and otherwise return the means."""
        self.calls += 1
        # Padding repeats the last image; do not count the copies.
        passed = len(pixels)
        while passed > 1 and torch.equal(pixels[passed - 1], pixels[passed - 2]):
            passed -= 1
        start, self.images = self.images, self.images + passed
        if self.fail_at is not None and self.images >= self.fail_at:
            raise self.failure
        blocks = [
            torch.nn.functional.adaptive_avg_pool2d(pixels, side).flatten(1) for side in (2, 4)
        ]
        if self.value_at is not None and start <= self.value_at < self.images:
            blocks[1][self.value_at - start, 0] = self.value
        return blocks


@pytest.fixture
def counting() -> Callable[..., CountingEncoder]:
    """Return :class:`CountingEncoder`; its fields are keyword arguments."""
    return CountingEncoder
