"""Train the built-in model."""
