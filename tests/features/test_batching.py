"""BatchEncoder: identical bytes in any batch, smaller batches when memory runs out."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from whichgen.encoders.encoder import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.errors import EncoderError, WhichgenWarning
from whichgen.features.batching import BatchEncoder, is_out_of_memory

IMAGES = np.random.default_rng(0).random((23, 3, 8, 8), dtype=np.float32)
NAMES = [f"image {i}" for i in range(len(IMAGES))]


class LimitedEncoder:
    """An encoder of one block that raises ``error`` for more than ``capacity`` images."""

    def __init__(self, capacity: int, error: BaseException | None = None) -> None:
        self.capacity, self.sizes = capacity, list[int]()
        self.error = error or RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    def encode(self, pixels: np.ndarray) -> list[np.ndarray]:
        self.sizes.append(len(pixels))
        if len(pixels) > self.capacity:
            raise self.error
        return [pixels.reshape(len(pixels), -1)]

    @property
    def encoder(self) -> Encoder:
        return Encoder("small", "0" * 32, {}, lambda image: np.zeros(0), self.encode, (192,))


@contextmanager
def ignore_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WhichgenWarning)
        yield


@given(st.integers(1, 30), st.integers(0, 40), st.integers(1, 23))
def test_every_image_is_encoded_once_for_any_size(capacity: int, pad_to: int, n: int) -> None:
    limited = LimitedEncoder(capacity)
    with ignore_warnings():
        (features,) = BatchEncoder(limited.encoder, pad_to=pad_to)(list(IMAGES[:n]), NAMES)
    assert np.array_equal(features, IMAGES[:n].reshape(n, -1))
    # After the first success, no larger batch is tried.
    successes = [size for size in limited.sizes if size <= capacity]
    failures = limited.sizes[: -len(successes)]
    assert limited.sizes == sorted(failures, reverse=True) + successes


def test_the_smaller_size_is_reported_and_remembered() -> None:
    limited = LimitedEncoder(capacity=5)
    encode = BatchEncoder(limited.encoder, pad_to=16)
    with pytest.warns(WhichgenWarning) as caught:
        encode(list(IMAGES[:16]), NAMES)
    assert [str(w.message) for w in caught] == [
        f"not enough memory on device cpu for batches of {size} images; continuing with "
        f"batches of {size // 2}. To avoid this warning, use `batch_size={size // 2}`."
        for size in (16, 8)
    ]
    assert limited.sizes == [16, 8, 4, 4, 4, 4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode(list(IMAGES[:6]), NAMES)
    assert limited.sizes[6:] == [4, 4]  # the second batch is padded


def test_too_little_memory_for_one_image_is_an_error() -> None:
    encode = BatchEncoder(LimitedEncoder(capacity=0).encoder, pad_to=4)
    with ignore_warnings(), pytest.raises(EncoderError, match="run small on a single image"):
        encode(list(IMAGES[:3]), NAMES)


def test_other_errors_are_not_taken_for_out_of_memory() -> None:
    limited = LimitedEncoder(0, RuntimeError("shapes can't be multiplied"))
    with pytest.raises(RuntimeError, match="multiplied"):
        BatchEncoder(limited.encoder)(list(IMAGES), NAMES)
    assert limited.sizes == [23]
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(KeyboardInterrupt())


def test_an_invalid_image_is_named_after_halving() -> None:
    pixels = IMAGES.copy()
    pixels[13] = np.nan
    encode = BatchEncoder(LimitedEncoder(capacity=4).encoder, pad_to=8)
    with ignore_warnings(), pytest.raises(EncoderError, match="features for image 13"):
        encode(list(pixels), NAMES)


@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("name", ["tiny_clip", "efficientnet_lite0"])
def test_features_do_not_depend_on_the_other_images_of_a_batch(
    name: str, device: str, request: pytest.FixtureRequest
) -> None:
    """After a resume, in another order or on a cluster, other images are in the same batch."""
    if name == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra lite")
    else:
        name = str(request.getfixturevalue(name))
    encoder = load_encoder(name, device=device)
    shape = encoder.preprocess(Image.new("RGB", (64, 64))).shape
    images = list(np.random.default_rng(1).normal(size=(11, *shape)).astype(np.float32))
    encode = BatchEncoder(encoder, pad_to=8)
    expected = encode(images[:8], NAMES)
    for rows in ([3], [3, 9], [10, 9, 8, 3, 2, 1], [*range(4, 11), 3]):
        for block, features in zip(expected, encode([images[i] for i in rows], NAMES), strict=True):
            assert np.array_equal(features[rows.index(3)], block[3])


def test_real_out_of_memory() -> None:
    """The address space is too small for a batch but large enough for a quarter of it."""
    script = textwrap.dedent(
        """
        import resource, warnings, numpy as np, torch
        from whichgen.encoders.encoder import Encoder
        from whichgen.encoders.torch_runtime import make_torch_encode
        from whichgen.errors import WhichgenWarning
        from whichgen.features.batching import BatchEncoder
        torch.set_num_threads(1)
        # 64 MiB per image within the forward pass
        wide = lambda x: [x.flatten(1).repeat(1, 2**20).mean(dim=1, keepdim=True)]
        encode = make_torch_encode(wide, "cpu", "float32")
        encode(np.ones((1, 16), np.float32))
        now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + 320 * 2**20,) * 2)
        encoder = Encoder("wide", "0" * 32, {}, None, encode, (1,))
        pixels = [np.full(16, i, np.float32) for i in range(16)]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            (features,) = BatchEncoder(encoder, pad_to=16)(pixels, [str(i) for i in range(16)])
        assert np.array_equal(features[:, 0], np.arange(16)), features
        sizes = [str(w.message).split()[9] for w in caught if w.category is WhichgenWarning]
        print(sizes)
        """
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("['16', '8'")
