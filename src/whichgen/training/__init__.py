"""Train, select and finalize models, with their controls."""
