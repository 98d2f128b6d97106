"""Light classifiers on one block's features."""
