"""Fixtures of the model tests, reused for inference."""

from models.conftest import BLOCK, ORIGINS, encoder, images, model, models

__all__ = ["BLOCK", "ORIGINS", "encoder", "images", "model", "models"]
