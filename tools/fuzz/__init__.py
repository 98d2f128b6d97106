"""Fuzz the code that reads untrusted input: see README.md."""
