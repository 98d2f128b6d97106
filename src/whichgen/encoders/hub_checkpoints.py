"""Checkpoints on the Hugging Face hub that correspond to timm names."""

from __future__ import annotations

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
