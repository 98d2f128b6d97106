"""A fitted model as a file, and its answers for new images."""
