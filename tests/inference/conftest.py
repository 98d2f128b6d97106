"""The fixtures of the model tests serve inference, too."""

from models.conftest import BLOCK, ORIGINS, encoder, images, model, models

__all__ = ["BLOCK", "ORIGINS", "encoder", "images", "model", "models"]
