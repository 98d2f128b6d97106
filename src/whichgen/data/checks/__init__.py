"""Check a dataset before training: duplicates, file properties, JPEG history, sources."""
