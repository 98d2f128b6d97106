"""Frozen vision encoders: one forward pass gives a feature vector after every block."""

from whichgen.encoders.load import load_encoder

__all__ = ["load_encoder"]
