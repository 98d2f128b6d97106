"""Saved models: model folders, validation, model cards, signatures and Hugging Face hub."""
