"""Metrics, confidence intervals, calibration and evaluation protocols."""
