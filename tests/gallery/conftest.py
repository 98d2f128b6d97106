"""Images on disk, their features in a store, and the model they are compared by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.conftest import BLOCK, ORIGINS, encoder, images, models
from whichgen.data.open_dataset import list_samples
from whichgen.encoders.encoder import Encoder
from whichgen.features.store import FeatureStore, compute_feature_key
from whichgen.gallery.entries import GalleryImages, collect_images
from whichgen.inference.similar_images import SimilaritySpace
from whichgen.models.origin_model import OriginModel

__all__ = ["encoder", "images", "models"]  # fixtures

RECORD: dict[str, Any] = {"config": {"model": "a model"}}


@pytest.fixture(scope="session")
def known(models: dict[str, OriginModel]) -> OriginModel:
    """The linear model."""
    return models["linear"]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory, noise: Callable[..., Image.Image]) -> Path:
    """A folder with 20 images of each of three origins, and two without origin."""
    folder = tmp_path_factory.mktemp("pictures")
    for tint, origin in enumerate(ORIGINS):
        (folder / origin).mkdir()
        for i in range(20):
            noise(5000 + 100 * tint + i, tint=tint).save(folder / origin / f"{i:02d}.png")
    for i in range(2):
        noise(9000 + i).save(folder / f"stray{i}.png")
    return folder


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, encoder: Encoder) -> FeatureStore:
    """The store of their features."""
    return FeatureStore(tmp_path_factory.mktemp("store"), encoder)


@pytest.fixture(scope="session")
def gallery_images(
    known: OriginModel, pictures: Path, encoder: Encoder, store: FeatureStore
) -> GalleryImages:
    """All 62 images."""
    return collect_images(list_samples(str(pictures)), SimilaritySpace(known), encoder, store)


def features_of(images: GalleryImages) -> np.ndarray:
    """The head's input for all images: float32 array (n, d)."""
    keys = [compute_feature_key(digest) for digest in images.entries["digest"].to_pylist()]
    return images.store.read(keys, BLOCK)


def unit(seed: int, n: int, d: int) -> np.ndarray:
    """Seeded unit vectors, float32 (n, d), with some duplicates."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, d)).astype(np.float32)
    points[rng.integers(0, n, n // 4)] = points[0]
    return points / np.linalg.norm(points, axis=1, keepdims=True)
