"""Atomic writes, safe reading of untrusted files, and remote storage."""
