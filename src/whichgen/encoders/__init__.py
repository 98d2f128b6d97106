"""Frozen encoders that compute one feature vector per block for each image."""

from whichgen.encoders.loading import load_encoder

__all__ = ["load_encoder"]
