"""Answers for new images: attribution, explanation, enrollment and discovery."""
