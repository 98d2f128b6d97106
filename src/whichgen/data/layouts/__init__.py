"""Read origins and splits from folder names."""
