"""Atomic writes, safe reading of untrusted files, tables, remote storage and run metadata."""
