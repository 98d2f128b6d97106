"""Image files with metadata as cameras, editors and generators write them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

FileOf = Callable[..., bytes]


@pytest.fixture(scope="session")
def file_of() -> FileOf:
    """An image file's content: format, then what Pillow's ``save`` takes."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3)).astype(np.uint8)
    picture = Image.fromarray(pixels)

    def make(kind: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
        buffer = io.BytesIO()
        picture.convert(mode).save(buffer, kind, **options)
        return buffer.getvalue()

    return make
