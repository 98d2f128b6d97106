"""CLIP ViT-B/16 without its weights, which no package registry has."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers


def clip_b16(folder: Path, layers: int = 12) -> str:
    """The exact CLIP ViT-B/16 architecture with random weights: for times, never for figures."""
    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=layers,
        num_attention_heads=12,
        image_size=224,
        patch_size=16,
    )
    transformers.CLIPVisionModel(config).save_pretrained(folder)
    transformers.CLIPImageProcessorPil().save_pretrained(folder)
    return str(folder)
