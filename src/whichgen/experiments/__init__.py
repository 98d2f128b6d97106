"""Experiments: robustness, low data, few-shot enrollment, held-out sources, comparison of runs."""
