"""Inference on new images: attribution, explanation, enrollment and discovery."""
