"""Encoders from timm (extra ``timm``), which requires a torchvision that matches torch."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from whichgen.encoders.encoder_names import TIMM_TO_HUB
from whichgen.encoders.network import Network
from whichgen.encoders.weights_hash import hash_weights
from whichgen.errors import EncoderError, get_first_line
from whichgen.io.hub_access import hub_access


def load_timm(name: str) -> Network:
    """Load a timm model by name; its blocks are the outputs of ``forward_intermediates``.

    Parameters
    ----------
    name
        Name of the model in timm, for example ``vit_base_patch16_224.augreg_in21k``.

    Raises
    ------
    EncoderError
        timm can't be imported, or it can't load the model, for example because the name is unknown
        or the weights can't be downloaded.
    """
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        # A torchvision that does not match torch raises RuntimeError.
        raise EncoderError(
            f"encoder {name!r} is neither a folder, a hub ID (owner/name) nor a timm name that is "
            f"mapped to the hub ({', '.join(sorted(TIMM_TO_HUB)[:3])}, …), and timm can't be "
            f"imported ({get_first_line(error)}). Check the name or, for another timm model, "
            "install timm and a torchvision that matches torch: pip install 'whichgen[timm]'"
        ) from None
    with hub_access() as offline:
        try:
            module = timm.create_model(name, pretrained=True, num_classes=0)
        except Exception as error:  # including any exception of timm's hub client
            raise EncoderError(
                f"timm can't load {name!r} ({offline or get_first_line(error)}). Check the name, "
                "and that the weights can be downloaded or are in the hub's local cache."
            ) from error
    settings = timm.data.resolve_model_data_config(module)
    transform = timm.data.create_transform(**settings, is_training=False)
    prefix = int(getattr(module, "num_prefix_tokens", 0))

    def preprocess(image: Image.Image) -> np.ndarray:
        return np.asarray(transform(image).numpy(), dtype=np.float32)

    def forward(pixels: torch.Tensor) -> list[torch.Tensor]:
        if not prefix:
            return list(module.forward_intermediates(pixels, intermediates_only=True))
        pairs = module.forward_intermediates(
            pixels, intermediates_only=True, return_prefix_tokens=True, output_fmt="NLC"
        )
        return [torch.cat(pair[::-1], dim=1) for pair in pairs]

    return Network(
        name,
        hash_weights(module),
        preprocessing={k: str(v) for k, v in settings.items()},
        preprocess=preprocess,
        load=lambda: (module, forward),
        prefix=prefix,
        native_side=round(settings["input_size"][-1] / settings["crop_pct"]),
    )
