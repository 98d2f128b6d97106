"""Passes: the same bytes whatever is encoded beside an image, smaller where memory lacks."""

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

from whichgen.encoders.base import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.errors import EncoderError, WhichgenWarning
from whichgen.features.batching import Passes, lacks_memory

IMAGES = np.random.default_rng(0).random((23, 3, 8, 8), dtype=np.float32)
NAMES = [f"image {i}" for i in range(len(IMAGES))]


class Small:
    """An encoder of one block, of which a pass over ``holds`` images fails as ``error`` says."""

    def __init__(self, holds: int, error: BaseException | None = None) -> None:
        self.holds, self.tried = holds, list[int]()
        self.error = error or RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    def encode(self, pixels: np.ndarray) -> list[np.ndarray]:
        self.tried.append(len(pixels))
        if len(pixels) > self.holds:
            raise self.error
        return [pixels.reshape(len(pixels), -1)]

    @property
    def encoder(self) -> Encoder:
        return Encoder("small", "0" * 32, {}, lambda image: np.zeros(0), self.encode, (192,))


@contextmanager
def silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WhichgenWarning)
        yield


@given(st.integers(1, 30), st.integers(0, 40), st.integers(1, 23))
def test_nothing_is_lost_or_doubled_at_any_size(holds: int, whole: int, images: int) -> None:
    small = Small(holds)
    with silent():
        (found,) = Passes(small.encoder, whole=whole)(list(IMAGES[:images]), NAMES)
    assert np.array_equal(found, IMAGES[:images].reshape(images, -1))
    # Once it is known how many fit, no larger pass is tried.
    fitting = [n for n in small.tried if n <= holds]
    assert small.tried == sorted(small.tried[: -len(fitting)], reverse=True) + fitting


def test_a_smaller_pass_is_kept_to_and_said() -> None:
    small = Small(holds=5)
    passes = Passes(small.encoder, whole=16)
    with pytest.warns(WhichgenWarning) as told:
        passes(list(IMAGES[:16]), NAMES)
    assert [str(w.message) for w in told] == [
        "cpu lacks memory for 16 images at once; going on with 8. --batch-size 8 spares the "
        "attempt.",
        "cpu lacks memory for 8 images at once; going on with 4. --batch-size 4 spares the "
        "attempt.",
    ]
    assert small.tried == [16, 8, 4, 4, 4, 4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        passes(list(IMAGES[:6]), NAMES)
    assert small.tried[6:] == [4, 4]  # filled up: the last pass has two images


def test_one_image_too_many_is_an_error() -> None:
    with silent(), pytest.raises(EncoderError, match="memory for small with a single image"):
        Passes(Small(holds=0).encoder, whole=4)(list(IMAGES[:3]), NAMES)


def test_other_errors_are_not_taken_for_it() -> None:
    small = Small(0, RuntimeError("shapes can't be multiplied"))
    with pytest.raises(RuntimeError, match="multiplied"):
        Passes(small.encoder)(list(IMAGES), NAMES)
    assert small.tried == [23]
    assert lacks_memory(MemoryError())
    assert not lacks_memory(KeyboardInterrupt())


def test_a_bad_image_is_named_after_passes_were_halved() -> None:
    spoilt = IMAGES.copy()
    spoilt[13] = np.nan
    with silent(), pytest.raises(EncoderError, match="features for image 13"):
        Passes(Small(holds=4).encoder, whole=8)(list(spoilt), NAMES)


@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("name", ["tiny_clip", "efficientnet_lite0"])
def test_the_same_bytes_whatever_is_encoded_beside_an_image(
    name: str, device: str, request: pytest.FixtureRequest
) -> None:
    """Resuming, another order and another engine encode an image in other company."""
    if name == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra lite")
    else:
        name = str(request.getfixturevalue(name))
    encoder = load_encoder(name, device=device)
    shape = encoder.preprocess(Image.new("RGB", (64, 64))).shape
    images = list(np.random.default_rng(1).normal(size=(11, *shape)).astype(np.float32))
    whole = 8
    passes = Passes(encoder, whole=whole)
    together = passes(images[:whole], NAMES)
    for company in ([3], [3, 9], [10, 9, 8, 3, 2, 1], [*range(4, 11), 3]):
        for block, found in zip(together, passes([images[i] for i in company], NAMES), strict=True):
            assert np.array_equal(found[company.index(3)], block[3])


def test_memory_that_really_lacks() -> None:
    """A process with little address space: torch's own allocator fails, and a quarter passes."""
    script = textwrap.dedent(
        """
        import resource, warnings, numpy as np, torch
        from whichgen.encoders.base import Encoder, torch_encode
        from whichgen.errors import WhichgenWarning
        from whichgen.features.batching import Passes
        torch.set_num_threads(1)
        # 64 MiB an image within the pass
        wide = lambda x: [x.flatten(1).repeat(1, 2**20).mean(dim=1, keepdim=True)]
        encode = torch_encode(wide, "cpu", "float32")
        encode(np.ones((1, 16), np.float32))
        now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + 320 * 2**20,) * 2)
        encoder = Encoder("wide", "0" * 32, {}, None, encode, (1,))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            (found,) = Passes(encoder, whole=16)([np.full(16, i, np.float32) for i in range(16)],
                                                 [str(i) for i in range(16)])
        assert np.array_equal(found[:, 0], np.arange(16)), found
        print([str(w.message).partition(";")[0] for w in told if w.category is WhichgenWarning])
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("['cpu lacks memory for 16 images at once', 'cpu lacks memory")
