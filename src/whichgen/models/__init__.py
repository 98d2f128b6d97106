"""Saved models: the model folder, its validation, card, hub and signatures."""
