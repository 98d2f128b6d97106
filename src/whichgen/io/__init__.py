"""Files, folders and remote storage: atomic writes, untrusted input, tables and run metadata."""
