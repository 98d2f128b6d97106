"""Fuzzing of whatever reads what strangers give: see README.md."""
