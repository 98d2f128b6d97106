"""Fixtures of the training tests, reused for the experiments."""

from training.conftest import KNN, LINEAR, World, world

__all__ = ["KNN", "LINEAR", "World", "world"]
