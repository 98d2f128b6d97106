"""CLIP ViT-B/16 with random weights, for measurements of speed without a download."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers


def write_random_clip(folder: Path, layers: int = 12) -> str:
    """Write a checkpoint with CLIP's architecture and random weights; return its folder.

    Use it only to measure speed, never accuracy.
    """
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
