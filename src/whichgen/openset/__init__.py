"""Open-set recognition: scores, threshold, and coarser predictions for rejected images."""
