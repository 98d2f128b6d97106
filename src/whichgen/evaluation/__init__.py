"""Metrics, their confidence intervals, calibration, and the evaluation protocols."""
