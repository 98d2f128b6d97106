"""Whole experiments: fit and test, robustness, low-data regime."""
