"""Lightweight classifiers on the features of one or several encoder blocks."""
