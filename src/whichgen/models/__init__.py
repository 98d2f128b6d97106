"""Fitted models: model folders, validation, model cards, signatures and the Hugging Face hub."""
