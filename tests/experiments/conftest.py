"""The fixtures of the training tests serve the experiments, too."""

from training.conftest import KNN, LINEAR, World, world

__all__ = ["KNN", "LINEAR", "World", "world"]
