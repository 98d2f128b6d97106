"""Compute block features once and store them on disk."""
