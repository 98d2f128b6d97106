"""Experiments: robustness, training on few images, few-shot enrollment, paired comparison."""
