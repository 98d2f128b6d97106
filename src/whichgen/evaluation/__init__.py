"""Metrics, the choice of block and hyperparameter, and the protocols they are computed under."""
