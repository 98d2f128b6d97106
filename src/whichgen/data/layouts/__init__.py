"""Determine origins and splits from folder names."""
