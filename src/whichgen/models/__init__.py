"""Saved models: model folder, validation, model card, signatures and Hugging Face hub."""
