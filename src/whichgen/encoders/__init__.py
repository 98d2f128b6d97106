"""Frozen vision encoders that compute one feature vector per block in one forward pass."""

from whichgen.encoders.loading import load_encoder

__all__ = ["load_encoder"]
