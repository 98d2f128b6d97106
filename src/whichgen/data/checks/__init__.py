"""Check a dataset before training: duplicates, file properties and sources."""
