"""Frozen vision encoders: one forward pass gives a feature vector after every block."""

from whichgen.encoders.loading import load_encoder

__all__ = ["load_encoder"]
