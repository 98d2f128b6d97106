"""Experiments: robustness, low-data training, few-shot enrollment and paired comparison."""
